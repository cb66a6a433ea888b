#!/usr/bin/env python3
"""Runs scripts/lint.py over small trees, each with one fault, and expects that finding only."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
sys.dont_write_bytecode = True
import lint  # noqa: E402

LICENCE = " * SPDX-License-Identifier: Apache-2.0 */\n"


def header(body, name="thing"):
    guard = f"SHARDYFUSION_{name.upper()}_H"
    return (f"/* {name}.h: things.\n *\n{LICENCE}#ifndef {guard}\n#define {guard}\n"
            f'#ifdef __cplusplus\nextern "C" {{\n#endif\n{body}'
            "#ifdef __cplusplus\n}\n#endif\n#endif\n")


def function(body, signature="static void work(void)"):
    return f"{signature}\n{{\n{body}}}\n"


class LintTest(unittest.TestCase):
    def findings(self, files):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                if isinstance(text, bytes):
                    (root / path).write_bytes(text)
                else:
                    (root / path).write_text(text, encoding="utf-8")
            return lint.lint(root)[1]

    def expect(self, rule, files, line=None):
        found = self.findings(files)
        self.assertEqual([rule] * len(found), [f.rule for f in found], found)
        self.assertGreaterEqual(len(found), 1, f"nothing was found, {rule} was expected")
        if line is not None:
            self.assertEqual(line, found[0].line, found)

    def clean(self, files):
        self.assertEqual([], self.findings(files))

    # --- text

    def test_a_line_of_101_columns(self):
        self.expect("columns", {"src/base/a.c": "/* " + "x" * 95 + " */\n"}, 1)
        self.clean({"src/base/a.c": "/* " + "x" * 94 + " */\n"})
        self.clean({"docs/a.md": "x" * 200 + "\n"})

    def test_white_space(self):
        self.expect("whitespace", {"src/base/a.c": "/* a */ \n"})
        self.expect("whitespace", {"src/base/a.c": "/*\ta */\n"})
        self.expect("whitespace", {"src/base/a.c": "/* a */"})
        self.expect("whitespace", {"src/base/a.c": "/* a */\n\n"})
        self.clean({"Makefile": "all:\n\ttrue\n"})

    def test_a_file_that_is_not_utf_8(self):
        self.expect("encoding", {"src/base/a.c": b"/* \xff */\n"})

    def test_a_file_of_1201_lines(self):
        self.expect("file-size", {"src/base/a.c": "/* */\n" * 1201})
        self.clean({"src/base/a.c": "/* */\n" * 1199})

    def test_words_of_unfinished_work(self):
        for word in ("TO" "DO", "FIX" "ME", "X" "XX", "HA" "CK"):
            self.expect("word", {"src/base/a.c": f"/* {word}: later */\n"})
        self.clean({"src/base/a.c": '/* mkstemp */\nstatic const char t[] = "a-X' 'XXXXX";\n'})

    def test_paths_of_one_machine(self):
        for path in ("/wo" "rk/main", "/ro" "ot/x", "/tmp/ba" "sh_jobs"):
            self.expect("word", {"scripts/a.sh": f"cd {path}\n"})
        self.clean({"scripts/a.sh": "cd $build/work/x\n"})

    def test_hosts_of_registries(self):
        for host in ("py" "pi.org", "crates" ".io", "deb" ".debian.org"):
            self.expect("word", {"docs/a.md": f"see {host}\n"})

    def test_numbers_of_issues(self):
        self.expect("reference", {"docs/a.md": "fixed, see #" "12\n"})
        self.expect("reference", {"src/base/a.c": "/* because of #" "12 */\n"})
        self.clean({"docs/a.md": "a `#12`, C&#35;, [x](#a-1)\n\n## a 1\n"})

    def test_spelling(self):
        self.expect("spelling", {"docs/a.md": "we rec" "ieve bytes\n"})
        self.expect("spelling", {"src/base/a.c": "/* sep" "erate */\n"})

    # --- C

    def test_a_line_comment(self):
        self.expect("comment", {"src/base/a.c": "// no\n"})
        self.clean({"src/base/a.c": 'static const char t[] = "http://x";\n'})

    def test_a_function_of_121_lines(self):
        self.expect("function-size", {"src/base/a.c": function("    f();\n" * 118)}, 1)
        self.clean({"src/base/a.c": function("    f();\n" * 117)})

    def test_a_function_of_21_branches(self):
        self.expect("complexity", {"src/base/a.c": function("    if (a && b) {\n    }\n" * 10)})
        self.clean({"src/base/a.c": function("    if (a) {\n    }\n" * 19)})
        self.clean({"src/base/a.c": function('    f("????????????????????????????");\n')})

    def test_seven_parameters(self):
        six = "int a, int b, int c, int d, int e, void (*f)(int, int)"
        self.expect("parameters", {"src/base/a.c": function(
            "", f"static void work({six}, int g)")})
        self.clean({"src/base/a.c": function("", f"static int work({six}, shardy_error *err)")})

    def test_goto(self):
        self.clean({"src/base/a.c": function("    goto done;\ndone:\n    f();\n")})
        self.expect("goto", {"src/base/a.c": function("done:\n    f();\n    goto done;\n")}, 5)
        self.expect("goto", {"src/base/a.c": function("    goto done;\nout:\n    f();\n")}, 4)
        self.expect("goto", {"src/base/a.c": function("    goto out;\n")}, 3)
        self.expect("goto", {"src/base/a.c": function("done:\n    f();\ndone:\n    f();\n")}, 5)

    def test_banned_functions(self):
        for call in ("malloc(1)", "free(p)", 'printf("x")', "exit(1)", "abort()", 'getenv("X")',
                     "strcpy(a, b)", "strtol(a, b, 10)", "gmtime(t)", 'system("x")', "alloca(1)",
                     'open("x", 0)', "pthread_create(a, b, c, d)", "nanosleep(a, b)", "atoi(a)",
                     "strtod(a, b)", "signal(1, f)", "rand()"):
            self.expect("banned", {"src/base/a.c": function(f"    {call};\n")}, 3)

    def test_functions_that_are_not_banned_there(self):
        self.clean({"src/base/alloc.c": function("    free(malloc(1));\n")})
        self.clean({"src/base/a.c": function('    shardy__fault(1);\n    open("x", 0);\n')})
        self.clean({"cli/a.c": function('    printf("x");\n    exit(1);\n    free(malloc(1));\n')})
        self.clean({"tests/unit/a.c": function('    printf("x");\n    free(malloc(1));\n')})
        self.clean({"src/base/a.c": function("    shardy__free(p);\n    x.free(p);\n"
                                             "    x->open(p);\n    reopen(p);\n")})
        self.clean({"src/base/a.c": '/* malloc(1) */\nstatic const char t[] = "exit(1)";\n'})
        self.expect("banned", {"cli/a.c": function("    strcat(a, b);\n")})
        self.expect("banned", {"tests/unit/a.c": function("    usleep(1);\n")})

    def test_a_call_through_a_table(self):
        call = function("    state->ops->put(state);\n")
        self.expect("table-call", {"src/read/a.c": call})
        self.clean({"src/store/store.c": call})

    def test_names(self):
        self.expect("name", {"src/base/a.c": function("", "void work(void)")}, 1)
        self.expect("name", {"src/base/a.c": function("", "void shardy_work(void)")})
        self.clean({"src/base/a.c": function("", "void shardy__a_work(void)")})
        self.clean({"src/base/a.c": function("", "void shardy_thing_work(void)"),
                    "include/shardyfusion/thing.h": header(
                        "/* Works. */\nSHARDY_API void shardy_thing_work(void);\n")})
        self.expect("name", {"src/base/a.c": "int count;\n"})
        self.expect("name", {"src/base/a.c": "const char *const names[] = {0};\n"})
        self.clean({"src/base/a.c": "static int count;\nstruct x {\n    int count;\n};\n"})

    def test_words_of_the_glossary(self):
        self.expect("glossary", {"src/base/a.c": function("", "void shardy__backend_open(void)")})
        self.expect("glossary", {"src/store/storage.c": "/* a */\n"})

    def test_layers(self):
        def include(path, target):
            return {path: f"#include {target}\n"}

        self.clean(include("src/read/a.c", '"../base/b.h"'))
        self.clean(include("src/read/a.c", '"b.h"'))
        self.expect("layer", include("src/base/a.c", '"../read/b.h"'), 1)
        self.expect("layer", include("src/manifest/a.c", '"../route/b.h"'))
        self.expect("layer", include("src/read/a.c", '"../build/b.h"'))
        self.expect("layer", include("src/read/a.c", '"../read/b.h"'))
        self.expect("layer", include("src/read/a.c", '"base/b.h"'))
        self.expect("layer", include("src/read/a.c", '"../../src/base/b.h"'))
        self.expect("layer", include("src/other/a.c", '"b.h"'))
        self.expect("layer", include("src/engine/mem.c", '"sqlite_kv.h"'))
        self.expect("layer", include("cli/a.c", '"../src/base/b.h"'))
        self.expect("layer", include("bench/a.c", '"../src/base/b.h"'))
        self.clean(include("bench/micro_a.c", '"base/b.h"'))
        self.expect("layer", include("examples/a.c", "<shardyfusion/sys/store.h>"))
        self.clean(include("examples/a.c", "<shardyfusion/reader.h>"))

    def test_the_order_of_includes(self):
        good = '#include "a.h"\n#include "../base/b.h"\n#include <shardyfusion/key.h>\n' \
               "#include <string.h>\n"
        self.clean({"src/read/a.c": good})
        lines = good.splitlines(keepends=True)
        self.expect("include-order", {"src/read/a.c": "".join([lines[1], lines[0]])}, 2)
        self.expect("include-order", {"src/read/a.c": "".join([lines[3], lines[2]])}, 2)

    def test_recursion(self):
        loop = function("    work();\n")
        self.expect("recursion", {"src/base/a.c": loop}, 1)
        pair = function("    b();\n", "static void a(void)") + function(
            "    a();\n", "static void b(void)")
        self.expect("recursion", {"src/base/a.c": pair})
        self.clean({"src/base/a.c": function("    x->work();\n")})
        self.clean({"tests/unit/a.c": loop})

    # --- headers, documents, tests

    def test_public_headers(self):
        path = "include/shardyfusion/thing.h"
        good = "/* Works. */\nSHARDY_API void shardy_thing_work(void);\n"
        self.clean({path: header(good)})
        self.expect("spdx", {path: header(good).replace("SPDX", "")})
        self.expect("undocumented", {path: header("\n" + good.split("\n", 1)[1])})
        self.expect("name", {path: header(good.replace("shardy_thing", "thing"))})
        self.expect("header", {path: header(good).replace('extern "C" {', "{")})
        self.expect("header", {path: header(good).replace("THING_H", "OTHER_H")})
        fails = "/* Works. */\nSHARDY_API shardy_status shardy_a_b(shardy_error *err){};\n"
        self.clean({path: header(fails.format(" SHARDY_MUST_USE"))})
        self.expect("header", {path: header(fails.format(""))})
        self.expect("header", {path: header(
            fails.format(" SHARDY_MUST_USE").replace("shardy_error *err", "int a"))})
        self.expect("parameters", {path: header(good.replace(
            "(void)", "(int a, int b, int c, int d, int e, int f, int g)"))})
        self.expect("layer", {path: header("#include <shardyfusion/sys/store.h>\n" + good)})

    def test_limits_and_metrics_that_nobody_uses(self):
        limits = {"include/shardyfusion/limits.h": header("#define SHARDY_A_MAX 1\n", "limits")}
        self.expect("limit", limits)
        self.clean({**limits, "src/base/a.c": function("    f(SHARDY_A_MAX);\n")})
        context = {"include/shardyfusion/context.h": header(
            '#define SHARDY_METRIC_MAP(X) \\\n    X(READS, "calls", "reads")\n', "context")}
        self.expect("metric", context)
        self.clean({**context, "src/base/a.c": function("    f(SHARDY_METRIC_READS);\n")})

    def test_links(self):
        self.clean({"docs/a.md": "[b](b.md#two-words) [c](../c.txt)\n",
                    "docs/b.md": "# Two words\n", "c.txt": "c\n"})
        self.expect("link", {"docs/a.md": "[b](b.md)\n"})
        self.expect("link", {"docs/a.md": "[b](#three)\n\n# Two\n"})
        self.clean({"docs/a.md": "`[b](b.md)`\n\n```\n[b](b.md)\n```\n"})

    def test_names_of_tests(self):
        self.expect("test-name", {"tests/unit/test_a.c": "cmocka_unit_test(test_a)\n"})
        self.clean({"tests/unit/test_a.c": "cmocka_unit_test(test_a__it_holds)\n"})

    def test_a_fuzz_target_without_corpus(self):
        target = {"fuzz/fuzz_a.c": "/* a */\n"}
        self.expect("corpus", target)
        self.clean({**target, "fuzz/corpus/a/one": b"\x00"})

    def test_files_that_are_data_are_left_alone(self):
        self.clean({"tests/golden/a.c": "// \t\n", "fuzz/corpus/x/a.c": "// \t\n"})


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-q", *sys.argv[1:]])
