# Warnings, hardening and sanitizers, as one interface target.
add_library(shardy_flags INTERFACE)

# Adds each flag that the compiler knows, for C only: the one C++ file is compiled plainly.
function(shardy_add_c_flags)
    foreach(flag ${ARGN})
        string(MAKE_C_IDENTIFIER "have${flag}" var)
        check_c_compiler_flag(${flag} ${var})
        if(${var})
            target_compile_options(shardy_flags INTERFACE $<$<COMPILE_LANGUAGE:C>:${flag}>)
        endif()
    endforeach()
endfunction()

shardy_add_c_flags(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
    -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wnull-dereference -Wformat=2
    -Wimplicit-fallthrough -Wcast-qual -Wwrite-strings -Wundef -Wdouble-promotion
    -Walloca -Wcast-align -Wformat-signedness -Wlogical-op -Wduplicated-cond
    -Wduplicated-branches -Wjump-misses-init -Warith-conversion -Wtrampolines)
if(SHARDY_WERROR)
    target_compile_options(shardy_flags INTERFACE -Werror)
endif()

if(SHARDY_SANITIZE)
    target_compile_options(shardy_flags INTERFACE -fsanitize=${SHARDY_SANITIZE}
        -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(shardy_flags INTERFACE -fsanitize=${SHARDY_SANITIZE})
    if(SHARDY_SANITIZE MATCHES "thread")
        # Around its own calls gcc loses what it knows of pointers; the other builds do warn.
        target_compile_options(shardy_flags INTERFACE
            $<$<COMPILE_LANGUAGE:C>:-Wno-null-dereference>)
    endif()
elseif(CMAKE_BUILD_TYPE MATCHES "Rel")
    shardy_add_c_flags(-fstack-protector-strong -fstack-clash-protection -fcf-protection=full)
    target_compile_options(shardy_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
    if(NOT APPLE)
        target_link_options(shardy_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
    endif()
endif()
target_compile_options(shardy_flags INTERFACE -fno-strict-aliasing)
