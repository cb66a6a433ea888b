# Installs the library (shared and static), its headers, the command with its manual page and
# completions, a pkg-config file and a CMake package. All of it can be moved to another prefix.
include(CMakePackageConfigHelpers)

set(SHARDY_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/shardyfusion)
set(SHARDY_PC_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Two sets of targets: a program that links the shared library needs none of the packages that the
# static one needs.
install(TARGETS shardyfusion EXPORT shardyfusionTargets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS shardyfusion_static EXPORT shardyfusionStaticTargets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
# sys/testing.h promises nothing and works in builds with fault points only.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/shardyfusion
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h"
    PATTERN "sys/testing.h" EXCLUDE)
install(EXPORT shardyfusionTargets NAMESPACE shardyfusion:: DESTINATION ${SHARDY_CMAKE_DIR})
install(EXPORT shardyfusionStaticTargets NAMESPACE shardyfusion::
    DESTINATION ${SHARDY_CMAKE_DIR})

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/shardyfusionConfig.cmake.in
    ${PROJECT_BINARY_DIR}/shardyfusionConfig.cmake INSTALL_DESTINATION ${SHARDY_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/shardyfusionConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/shardyfusionConfig.cmake
    ${PROJECT_BINARY_DIR}/shardyfusionConfigVersion.cmake DESTINATION ${SHARDY_CMAKE_DIR})

# Paths in the pkg-config file are relative to the file, so that `cmake --install --prefix` works.
set(SHARDY_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
set(SHARDY_PC_LIBDIR ${CMAKE_INSTALL_FULL_LIBDIR})
set(SHARDY_PC_INCLUDEDIR ${CMAKE_INSTALL_FULL_INCLUDEDIR})
if(NOT IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR} AND NOT IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
    file(RELATIVE_PATH up ${CMAKE_INSTALL_PREFIX}/${SHARDY_PC_DIR} ${CMAKE_INSTALL_PREFIX})
    string(REGEX REPLACE "/$" "" up "${up}")
    set(SHARDY_PC_PREFIX "\${pcfiledir}/${up}")
    set(SHARDY_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
    set(SHARDY_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
# Not libcurl and libpq: their own private libraries, which `pkg-config --static` would add, are
# only needed to link these two statically, and their development packages do not come with them.
set(SHARDY_PC_REQUIRES "libcrypto, libxxhash, libzstd, yaml-0.1, expat")
set(SHARDY_PC_LIBS "-lcurl")
if(SHARDY_WITH_POSTGRES)
    string(APPEND SHARDY_PC_LIBS " -lpq")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/shardyfusion.pc.in
    ${PROJECT_BINARY_DIR}/shardyfusion.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/shardyfusion.pc DESTINATION ${SHARDY_PC_DIR})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

if(TARGET shardy)
    install(TARGETS shardy RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    set(made ${PROJECT_BINARY_DIR}/cli)
    install(FILES ${made}/shardy.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    install(FILES ${made}/shardy.bash RENAME shardy
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES ${made}/_shardy DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES ${made}/shardy.fish
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
