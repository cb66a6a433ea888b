#include "cli.h"

#include "term.h"
#include "utf8.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BAR_MAX = 30,
    BAR_STEP = 10, /* the bar keeps its width while the numbers behind it grow and shrink */
    PARTS_MAX = 7
};

static const int64_t draw_interval_ns = 80000000;
static const int64_t line_interval_ns = INT64_C(5) * 1000000000;

/* --- numbers for people ----------------------------------------------------------------------- */

static void add_scaled(strbuf *b, double value, double step, const char *const *units, size_t count)
{
    size_t unit = 0;
    /* 999.95 would be printed as 1000.0 */
    while (unit + 1 < count && value >= step - 0.05) {
        value /= step;
        unit++;
    }
    strbuf_printf(b, unit == 0 ? "%.0f%s" : "%.1f%s", value, units[unit]);
}

void progress_add_count(strbuf *b, uint64_t count)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    add_scaled(b, (double)count, 1000, units, 5);
}

void progress_add_bytes(strbuf *b, uint64_t bytes)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    add_scaled(b, (double)bytes, 1024, units, 5);
}

void progress_add_time(strbuf *b, double seconds)
{
    if (!(seconds < 360000)) {
        seconds = 359999;
    }
    unsigned s = seconds > 0 ? (unsigned)(seconds + 0.5) : 0;
    if (s >= 3600) {
        strbuf_printf(b, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    } else {
        strbuf_printf(b, "%u:%02u", s / 60, s % 60);
    }
}

/* --- the line --------------------------------------------------------------------------------- */

/* The parts behind the bar, the most important first. */
static size_t make_parts(const progress_view *v, double seconds, strbuf parts[PARTS_MAX])
{
    size_t n = 0;
    if (v->fraction >= 0) {
        strbuf_printf(&parts[n++], "%3.0f%%", v->fraction * 100);
    }
    if (v->shards_total) {
        strbuf_printf(&parts[n++], "%u/%u shard%s", (unsigned)v->shards_done,
            (unsigned)v->shards_total, out_s(v->shards_total));
    }
    if (v->to_upload) {
        progress_add_bytes(&parts[n], v->uploaded);
        strbuf_puts(&parts[n], " of ");
        progress_add_bytes(&parts[n], v->to_upload);
        strbuf_puts(&parts[n++], " uploaded");
    }
    if (v->rows) {
        progress_add_count(&parts[n], v->rows);
        strbuf_printf(&parts[n++], " %s%s", v->noun ? v->noun : "row", out_s(v->rows));
    }
    int rate_known = seconds >= 0.2;
    if (v->rows_per_second && v->rows && rate_known) {
        progress_add_count(&parts[n], (uint64_t)((double)v->rows / seconds));
        strbuf_puts(&parts[n++], " rows/s");
    }
    if (v->bytes) {
        progress_add_bytes(&parts[n], v->bytes);
        if (!v->rows_per_second && rate_known) {
            strbuf_puts(&parts[n], ", ");
            progress_add_bytes(&parts[n], (uint64_t)((double)v->bytes / seconds));
            strbuf_puts(&parts[n], "/s");
        }
        n++;
    }
    if (v->fraction >= 0 && v->fraction < 1) {
        if (v->fraction > 0.01 && seconds >= 1) {
            progress_add_time(&parts[n], seconds / v->fraction - seconds);
        } else {
            strbuf_puts(&parts[n], "-:--"); /* keeps the place */
        }
        strbuf_puts(&parts[n++], " left");
    } else if (v->fraction < 0 && rate_known) {
        progress_add_time(&parts[n++], seconds);
    }
    return n;
}

static void add_bar(const progress *p, strbuf *out, double fraction, size_t width)
{
    size_t full = (size_t)(fraction * (double)width + 0.5);
    full = full > width ? width : full;
    term_style(out, p->colour, TERM_CYAN);
    for (size_t i = 0; i < width; i++) {
        if (i == full) {
            term_style(out, p->colour, TERM_PLAIN);
            term_style(out, p->colour, TERM_DIM);
        }
        if (p->utf8) {
            strbuf_puts(out, i < full ? "\xE2\x94\x81" : "\xE2\x94\x80");
        } else {
            strbuf_putc(out, i < full ? '#' : '-');
        }
    }
    term_style(out, p->colour, TERM_PLAIN);
}

void progress_render(
    const progress *p, const progress_view *view, double seconds, size_t width, strbuf *out)
{
    strbuf parts[PARTS_MAX] = {{0}};
    size_t count = make_parts(view, seconds, parts);
    size_t used = strlen(view->label) < 10 ? 10 : strlen(view->label);
    size_t shown = 0;
    while (shown < count && used + 2 + parts[shown].len < width) {
        used += 2 + parts[shown++].len;
    }
    size_t bar = width > used + 3 ? width - used - 3 : 0;
    bar = bar > BAR_MAX ? BAR_MAX : bar - bar % BAR_STEP;
    strbuf_printf(out, "%-10s", view->label);
    if (view->fraction >= 0 && bar > 0) {
        add_bar(p, out, view->fraction > 1 ? 1 : view->fraction, bar);
        strbuf_putc(out, ' ');
    }
    for (size_t i = 0; i < count; i++) {
        if (i < shown) {
            strbuf_puts(out, i ? "  " : " ");
            strbuf_puts(out, strbuf_text(&parts[i]));
        }
        strbuf_free(&parts[i]);
    }
}

/* --- the screen ------------------------------------------------------------------------------- */

static void write_text(const strbuf *text)
{
    ssize_t n = write(STDERR_FILENO, strbuf_text(text), text->len);
    (void)n; /* progress that nobody sees is no reason to fail */
}

static void take_away(progress *p)
{
    if (p->visible) {
        strbuf b = {0};
        strbuf_puts(&b, "\r\033[K");
        write_text(&b);
        strbuf_free(&b);
        p->visible = 0;
    }
}

void progress_init(progress *p)
{
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
}

void progress_begin(progress *p, int show, int verbose, int colour)
{
    p->live = show && term_is_live(STDERR_FILENO);
    p->lines = show && !p->live && verbose;
    p->colour = colour;
    p->utf8 = utf8_wanted();
}

void progress_update(progress *p, const progress_view *view)
{
    if (!p->live && !p->lines) {
        return;
    }
    int64_t now = sys_now_ns();
    int other_phase = strcmp(p->label, view->label) != 0;
    if (other_phase) {
        snprintf(p->label, sizeof p->label, "%s", view->label);
        p->phase_ns = now;
    }
    if (!other_phase && now - p->drawn_ns < (p->live ? draw_interval_ns : line_interval_ns)) {
        return;
    }
    p->drawn_ns = now;
    strbuf b = {0};
    strbuf_puts(&b, p->live ? "\r" : "shardy: ");
    double seconds = (double)(now - p->phase_ns) / 1e9;
    progress_render(p, view, seconds, p->live ? term_width(STDERR_FILENO) : 0x1000, &b);
    strbuf_puts(&b, p->live ? "\033[K" : "\n");
    pthread_mutex_lock(&p->lock);
    write_text(&b);
    p->visible = p->live;
    pthread_mutex_unlock(&p->lock);
    strbuf_free(&b);
}

void progress_message(progress *p, const strbuf *text)
{
    pthread_mutex_lock(&p->lock);
    take_away(p);
    p->drawn_ns = 0;
    write_text(text);
    pthread_mutex_unlock(&p->lock);
}

void progress_end(progress *p)
{
    pthread_mutex_lock(&p->lock);
    take_away(p);
    p->live = 0;
    p->lines = 0;
    pthread_mutex_unlock(&p->lock);
}
