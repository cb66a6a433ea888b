/* context.c: the context of this run: what the library logs becomes messages of the command. */
#include "cli.h"

#include "term.h"
#include "utf8.h"

#include <string.h>

static void on_log(void *user, const shardy_log_record *record)
{
    static const struct {
        const char *word;
        term_style_name style;
    } levels[] = {{"", TERM_PLAIN}, {"error: ", TERM_RED}, {"warning: ", TERM_YELLOW},
        {"", TERM_PLAIN}, {"debug: ", TERM_DIM}, {"trace: ", TERM_DIM}};
    cli *c = user;
    size_t level = record->level > 0 && record->level < 6 ? (size_t)record->level : 3;
    strbuf b = {0};
    strbuf_puts(&b, "shardy: ");
    term_style(&b, c->colour_err, levels[level].style);
    strbuf_puts(&b, levels[level].word);
    term_style(&b, c->colour_err, TERM_PLAIN);
    strbuf_printf(&b, "%s: ", record->component);
    utf8_add_visible(&b, record->text, strlen(record->text), 0);
    strbuf_putc(&b, '\n');
    progress_message(&c->bar, &b);
    strbuf_free(&b);
}

int context_open(cli *c, uint32_t threads)
{
    if (c->context) {
        return EXIT_OK; /* of the session */
    }
    static const int32_t levels[] = {
        SHARDY_LOG_WARN, SHARDY_LOG_INFO, SHARDY_LOG_DEBUG, SHARDY_LOG_TRACE};
    shardy_error err = {0};
    shardy_context_options options;
    shardy_context_options_init(&options, sizeof options);
    options.log = on_log;
    options.log_user = c;
    options.log_level = levels[c->verbose < 3 ? c->verbose : 3];
    uint32_t configured =
        c->cfg.max_workers > SHARDY_THREADS_MAX ? SHARDY_THREADS_MAX : (uint32_t)c->cfg.max_workers;
    options.threads = threads ? threads : configured;
    if (shardy_context_new(&options, &c->context, &err) < 0 ||
        shardy_cancel_new(&c->cancel, &err) < 0) {
        return out_fail(c, &err, NULL);
    }
    signals_install(c->cancel);
    return EXIT_OK;
}
