#!/usr/bin/env python3
"""Compiles small libraries with one fault each and expects check_symbols.py to see it.

usage: test_symbols.py [C-COMPILER]
"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).resolve().parents[1] / "symbols" / "check_symbols.py"
COMPILER = "cc"
HARDENED = ["-O2", "-fPIC", "-fvisibility=hidden", "-fstack-protector-all",
            "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
LINKED = ["-Wl,-z,relro,-z,now,-z,noexecstack", "-Wl,-soname,libshardyfusion.so.0"]
PRELUDE = '#define SHARDY_API __attribute__((visibility("default")))\n#include <string.h>\n'
GOOD = """
SHARDY_API void shardy_a_b(char *p);
void shardy__a_c(char *p, const char *q, unsigned long n);
static const char *const names[] = {"a", "b"};
void shardy__a_c(char *p, const char *q, unsigned long n)
{
    char copy[8];
    memcpy(copy, q, n);
    memcpy(p, copy, 8);
}
void shardy_a_b(char *p) { shardy__a_c(p, names[*p], (unsigned long)*p); }
"""


class SymbolsTest(unittest.TestCase):
    def run_check(self, check, code=GOOD, declared="SHARDY_API void shardy_a_b(char *p);\n",
                  link=tuple(LINKED), file="a.c"):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / file).write_text(PRELUDE + code)
            (root / "a.h").write_text(f"/* SHARDY_API int no(void); */\n{declared}")
            compiled = root / f"{file}.o"
            for command in ([COMPILER, *HARDENED, "-c", root / file, "-o", compiled],
                            ["ar", "rcs", root / "liba.a", compiled],
                            [COMPILER, "-shared", compiled, *link, "-o", root / "liba.so"]):
                subprocess.run(command, check=True)
            result = subprocess.run(
                [sys.executable, CHECK, check, "--shared", root / "liba.so",
                 "--static", root / "liba.a", "--include", root],
                capture_output=True, text=True)
            self.assertIn(result.returncode, (0, 1), result.stderr)
            return result.stdout

    def expect(self, text, check, **options):
        self.assertIn(text, self.run_check(check, **options))

    def test_a_good_library_has_no_findings(self):
        for check in ("names", "exports", "imports", "globals", "hardening"):
            self.expect(f"{check}: 0 findings", check)

    def test_names(self):
        self.expect("work is global", "names", code=GOOD + "void work(void) {}\n")

    def test_exports(self):
        self.expect("shardy_x is exported but", "exports",
                    code=GOOD + "SHARDY_API void shardy_x(void) {}\n")
        self.expect("shardy_y is declared in a header but", "exports",
                    declared="SHARDY_API void shardy_a_b(char *p);\n"
                             "SHARDY_API const char *shardy_y(void);\n")

    def test_imports(self):
        for call, declaration in (("exit", "void exit(int);"), ("malloc", "void *malloc(long);"),
                                  ("puts", "int puts(const char *);"),
                                  ("getenv", "char *getenv(const char *);")):
            code = f"{GOOD}{declaration}\nvoid *shardy__d(void) {{ return (void *){call}; }}\n"
            self.expect(f"uses {call}", "imports", code=code)
        code = f"{GOOD}void free(void *p);\nvoid shardy__f(void *p) {{ free(p); }}\n"
        self.expect("0 findings", "imports", code=code, file="alloc.c")

    def test_globals(self):
        self.expect("count in .bss can be changed", "globals",
                    code=GOOD + "int shardy__e(void) { static int count; return ++count; }\n")
        self.expect("counts in .data can be changed", "globals",
                    code=GOOD + "static int counts = 3;\nint shardy__e(void);\n"
                                "int shardy__e(void) { return ++counts; }\n")
        self.expect("mine in .tbss can be changed", "globals",
                    code=GOOD + "static _Thread_local int mine;\n"
                                "int shardy__e(void) { return ++mine; }\n")

    def test_hardening(self):
        soname = LINKED[1]
        self.expect("bound lazily", "hardening", link=["-Wl,-z,relro,-z,lazy", soname])
        self.expect("stack is executable", "hardening",
                    link=[LINKED[0].replace("noexecstack", "execstack"), soname])
        self.expect("no RELRO", "hardening", link=["-Wl,-z,norelro,-z,now", soname])
        self.expect("search path", "hardening", link=[*LINKED, "-Wl,-rpath,/somewhere"])
        self.expect("no soname", "hardening", link=LINKED[:1])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        COMPILER = sys.argv.pop(1)
    unittest.main(argv=[sys.argv[0], "-q"])
