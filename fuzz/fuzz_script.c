/* Scripts of `shardy exec`: whatever the bytes are, they are refused with a message that is safe on
 * a terminal, or each entry gives the words of a line or such a message, and the words are read as
 * a command of scripts or refused. */
#include "../cli/script.h"
#include "message.h"

static void check_entry(const script *s, size_t index)
{
    script_words words;
    strbuf message = {0};
    int rc = script_entry(s, index, &words, &message);
    require_message(rc, &message, 0);
    require(words.op != NULL, "an entry has an op");
    if (rc == 0) {
        opt_values line;
        require(words.count > 0 && strcmp(words.words[0], words.op) == 0, "the op is first");
        rc = opt_parse_line((int)words.count, words.words, CMDS_SCRIPT, &line, &message);
        require((rc == 0) == (message.len == 0), "a refusal has a message");
        require(rc != 0 || (line.command && (CMDS_SCRIPT & CMD_BIT(line.command->id))),
            "only commands of scripts");
        require(!opt_given(&line, OPT_HELP) && !opt_given(&line, OPT_RAW) &&
                    !opt_given(&line, OPT_SNAPSHOT) && !opt_given(&line, OPT_OUTPUT_FORMAT),
            "only options of scripts");
        opt_free(&line);
    }
    script_words_free(&words);
    strbuf_free(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    script s;
    strbuf message = {0};
    int rc = script_parse(&s, "s.yaml", size ? (const char *)data : "", size, &message);
    require_message(rc, &message, 0);
    for (size_t i = 0; rc == 0 && i < script_count(&s) && i < 64; i++) {
        check_entry(&s, i);
    }
    script_free(&s);
    strbuf_free(&message);
    return 0;
}
