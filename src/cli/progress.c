/* SPDX-License-Identifier: Apache-2.0 */
/* The progress line: bar, bytes, rate of this run, time left.  One thread. */
#include "cli/progress.h"

#include "base/text.h"

#include <stdio.h>
#include <unistd.h>

static double seconds_since(const struct timespec *since)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - since->tv_sec) + (double)(now.tv_nsec - since->tv_nsec) / 1e9;
}

void progress_start(struct progress *p, uint64_t done, uint64_t total)
{
    *p = (struct progress){
        .on = isatty(STDERR_FILENO),
        .done = done,
        .total = total,
        .start_at = done,
    };
    (void)clock_gettime(CLOCK_MONOTONIC, &p->start);
    p->last = p->start;
}

/* "1:02:03" or "2:03"; more than 99 hours is "very long". */
static void time_text(double seconds, char *out, size_t size)
{
    int s = seconds < 360000.0 ? (int)seconds : -1;

    if (s < 0)
        (void)snprintf(out, size, "very long");
    else if (s >= 3600)
        (void)snprintf(out, size, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    else
        (void)snprintf(out, size, "%d:%02d", s / 60, s % 60);
}

void progress_set(struct progress *p, uint64_t done)
{
    char done_text[32], total_text[32], rate_text[32], left_text[32];
    double elapsed, rate;
    int filled;

    p->done = done;
    if (!p->on || (seconds_since(&p->last) < 0.1 && done < p->total))
        return;
    (void)clock_gettime(CLOCK_MONOTONIC, &p->last);
    elapsed = seconds_since(&p->start);
    rate = elapsed > 0 ? (double)(done - p->start_at) / elapsed : 0;
    filled = p->total ? (int)(30.0 * (double)done / (double)p->total) : 30;
    vd_text_size(done, done_text, sizeof(done_text));
    vd_text_size(p->total, total_text, sizeof(total_text));
    vd_text_size((uint64_t)rate, rate_text, sizeof(rate_text));
    time_text(rate > 0 ? (double)(p->total - done) / rate : 1e9, left_text, sizeof(left_text));
    (void)fprintf(stderr, "\r[%-30.*s] %s of %s, %s/s, %s left   ", filled,
                  "##############################", done_text, total_text, rate_text, left_text);
}

void progress_say(const struct progress *p, const char *text)
{
    if (p->on)
        (void)fprintf(stderr, "\r%-78.78s", text);
}

void progress_end(const struct progress *p)
{
    if (p->on)
        (void)fprintf(stderr, "\r%79s\r", "");
}
