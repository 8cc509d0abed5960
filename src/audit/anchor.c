/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anchors: one thread per place that checkpoints go to; see anchor.h.
 *
 * Every record in the log makes a checkpoint a second later, so that a record per delivery would
 * feed itself for ever.  Recorded is therefore what changes: the first delivery, the beginning and
 * the end of an outage, at most once a minute for each sink, and the sums before the log is closed.
 *
 * Threads: take() by the audit thread or by whoever closes; deliveries by a thread of each sink; the
 * rest by the thread that runs the mount.  `lock` guards the notes that wait, `ring_lock` the ring:
 * it is not used after sum_up, since audit_close frees it.
 */
#include "audit/anchor.h"

#include "audit/anchor_sink.h"
#include "audit/note_line.h"
#include "audit/record.h"
#include "audit/ring.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MS          UINT64_C(1000000)
#define TELL_NS     (60000 * MS) /* least time between two records of one sink */
#define END_SECONDS 10           /* what the end may take beside the last run of the command */
#define FILE_GAP    1000         /* ms; storms of checkpoints are thinned out */

enum sink_kind { SINK_LINE, SINK_COMMAND, SINK_FILE, N_SINKS };

static const char *const sink_names[N_SINKS] = {"anchor_log", "anchor_cmd", "anchor_dir"};

struct sink {
    struct audit_anchors *a;
    enum sink_kind kind;
    const char *name; /* of the option */
    bool used, started;
    uint64_t gap_ns;
    pthread_t thread;

    /* Guarded by lock. */
    bool waiting, ended;
    char note[NOTE_MAX];

    /* The sink's thread, and after its end the caller of audit_anchors_end; sum_up reads the three
     * numbers under ring_lock. */
    uint64_t delivered, failed, frames; /* the last one delivered covers so many frames */
    bool bad, told, told_bad;           /* the state, and what the log says of it */
    uint64_t told_at, failed_told;
};

struct audit_anchors {
    struct audit_anchors_config config;
    struct anchor_command command;
    struct anchor_file file;
    char session_id[37];

    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool closing; /* nothing new is begun until `ending`: the next note is the last one, or older */
    bool ending;

    pthread_mutex_t ring_lock;
    struct audit_ring *ring; /* NULL: not to be used (any more) */

    struct sink sinks[N_SINKS];
};

/* ---- telling ---- */

static void record(struct audit_anchors *a, enum audit_op op, const char *key, const char *text)
{
    const struct audit_field fields[] = {
        {AUDIT_T_NAME, "anchor", 6},
        {AUDIT_T_KEY, key, strlen(key)},
        {AUDIT_T_TEXT, text, strlen(text)},
    };
    const struct audit_event event = {.op = op, .fields = fields, .n_fields = 3};

    if (a->ring)
        (void)ring_try_log(a->ring, &event); /* a full ring has other worries, and must not wait */
}

static void say(const struct sink *s, bool warning, const char *text)
{
    char line[ANCHOR_WHY + 300];

    if (s->kind == SINK_LINE || !s->a->config.say)
        return;
    (void)snprintf(line, sizeof(line), "%s: %s", s->name, text);
    (void)s->a->config.say(s->a->config.say_ctx, warning, line);
}

/* Records a change of state, if there is one and the last one is long enough ago. */
static void tell(struct sink *s, const char *why, bool last)
{
    uint64_t now = audit_clock_ns(CLOCK_MONOTONIC);
    char text[ANCHOR_WHY + 200];

    if (s->told && s->bad == s->told_bad && !(last && s->bad))
        return;
    if (s->told && !last && now < s->told_at + TELL_NS)
        return;
    if (s->bad)
        (void)snprintf(text, sizeof(text), "%s was not delivered: %s",
                       last ? "the checkpoint over the whole log" : "a checkpoint", why);
    else if (s->told)
        (void)snprintf(text, sizeof(text),
                       "checkpoints are delivered again; %" PRIu64 " attempts failed",
                       s->failed - s->failed_told);
    else
        (void)snprintf(text, sizeof(text), "the first checkpoint was delivered");
    record(s->a, s->bad ? AUDIT_WARNING : AUDIT_FACT, s->name, text);
    if (s->bad || s->told)
        say(s, s->bad, text);
    if (!s->bad)
        s->failed_told = s->failed;
    s->told = true;
    s->told_bad = s->bad;
    s->told_at = now;
}

/* ---- delivering ---- */

static bool deliver_line(const struct audit_anchors *a, const struct anchor_note *note, char *why)
{
    char line[NOTE_LINE_MAX];

    note_line(note->text, line);
    if (line[0] && a->config.say(a->config.say_ctx, false, line))
        return true;
    (void)snprintf(why, ANCHOR_WHY, "nobody takes the lines of the log");
    return false;
}

static bool deliver_command(const struct sink *s, const struct anchor_note *note, char *why)
{
    char printed[ANCHOR_WHY];

    if (!anchor_command_run(&s->a->command, note, printed, why))
        return false;
    if (printed[0])
        say(s, false, printed);
    return true;
}

static void deliver(struct sink *s, const struct anchor_note *note)
{
    struct audit_anchors *a = s->a;
    char why[ANCHOR_WHY] = "";
    bool good = false;

    switch (s->kind) {
    case SINK_LINE:
        good = deliver_line(a, note, why);
        break;
    case SINK_COMMAND:
        good = deliver_command(s, note, why);
        break;
    case SINK_FILE:
        good = anchor_file_add(&a->file, a->session_id, note->text, why);
        break;
    case N_SINKS:
        break;
    }
    (void)pthread_mutex_lock(&a->ring_lock);
    s->bad = !good;
    if (good) {
        s->delivered++;
        s->frames = note->frames;
    } else {
        s->failed++;
    }
    tell(s, why, note->last);
    (void)pthread_mutex_unlock(&a->ring_lock);
}

/* The second line of a note. */
static uint64_t frames_of(const char *note)
{
    const char *line = strchr(note, '\n');

    return line ? strtoull(line + 1, NULL, 10) : 0;
}

/* Waits, with the lock held, until a note may be delivered; false: the end, and none is left. */
static bool wait_for_note(struct sink *s, uint64_t next_at)
{
    struct audit_anchors *a = s->a;

    for (;;) {
        uint64_t now = audit_clock_ns(CLOCK_MONOTONIC);
        struct timespec until = {(time_t)(next_at / 1000000000), (long)(next_at % 1000000000)};

        if (s->waiting && (a->ending || (now >= next_at && !a->closing)))
            return true;
        if (a->ending)
            return false;
        if (s->waiting && !a->closing)
            (void)pthread_cond_clockwait(&a->wake, &a->lock, CLOCK_MONOTONIC, &until);
        else
            (void)pthread_cond_wait(&a->wake, &a->lock);
    }
}

static void *sink_main(void *arg)
{
    struct sink *s = arg;
    struct audit_anchors *a = s->a;
    char text[NOTE_MAX];
    uint64_t next_at = 0;

    (void)pthread_mutex_lock(&a->lock);
    while (wait_for_note(s, next_at)) {
        struct anchor_note note = {.text = text, .last = a->ending};

        memcpy(text, s->note, sizeof(text));
        s->waiting = false;
        (void)pthread_mutex_unlock(&a->lock);
        note.frames = frames_of(text);
        deliver(s, &note);
        next_at = audit_clock_ns(CLOCK_MONOTONIC) + s->gap_ns;
        (void)pthread_mutex_lock(&a->lock);
    }
    s->ended = true;
    (void)pthread_cond_broadcast(&a->wake);
    (void)pthread_mutex_unlock(&a->lock);
    return NULL;
}

void audit_anchors_take(void *anchors, const char *note)
{
    struct audit_anchors *a = anchors;
    size_t len = strlen(note), i;

    if (len >= NOTE_MAX)
        return;
    (void)pthread_mutex_lock(&a->lock);
    for (i = 0; i < N_SINKS; i++)
        if (a->sinks[i].used) {
            memcpy(a->sinks[i].note, note, len + 1);
            a->sinks[i].waiting = true;
        }
    (void)pthread_cond_broadcast(&a->wake);
    (void)pthread_mutex_unlock(&a->lock);
}

/* ---- life ---- */

static void anchors_free(struct audit_anchors *a)
{
    anchor_file_close(&a->file);
    if (a->command.hurry_fd >= 0)
        (void)close(a->command.hurry_fd);
    (void)pthread_mutex_destroy(&a->lock);
    (void)pthread_mutex_destroy(&a->ring_lock);
    (void)pthread_cond_destroy(&a->wake);
    free(a->command.text);
    free(a->file.dir);
    free(a);
}

static bool copy_config(struct audit_anchors *a, const struct audit_anchors_config *config)
{
    a->config = *config;
    if (config->command)
        a->command.text = strdup(config->command);
    if (config->dir)
        a->file.dir = strdup(config->dir);
    a->config.command = a->command.text;
    a->config.dir = a->file.dir;
    return (a->command.text || !config->command) && (a->file.dir || !config->dir);
}

int audit_anchors_new(const struct audit_anchors_config *config, struct audit_anchors **out,
                      struct vd_err *err)
{
    struct audit_anchors *a = calloc(1, sizeof(*a));
    size_t i;

    if (!a)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    (void)pthread_mutex_init(&a->lock, NULL);
    (void)pthread_mutex_init(&a->ring_lock, NULL);
    (void)pthread_cond_init(&a->wake, NULL);
    a->file.fd = -1;
    a->command.session_id = a->session_id;
    a->command.limit_ms = config->command_limit_ms;
    a->command.hurry_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (i = 0; i < N_SINKS; i++)
        a->sinks[i] = (struct sink){.a = a, .kind = (enum sink_kind)i, .name = sink_names[i]};
    a->sinks[SINK_LINE].used = config->line_ms > 0 && config->say;
    a->sinks[SINK_LINE].gap_ns = config->line_ms * MS;
    a->sinks[SINK_COMMAND].used = config->command;
    a->sinks[SINK_COMMAND].gap_ns = config->command_gap_ms * MS;
    a->sinks[SINK_FILE].used = config->dir;
    a->sinks[SINK_FILE].gap_ns = FILE_GAP * MS;
    if (!copy_config(a, config) || a->command.hurry_fd < 0) {
        anchors_free(a);
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    *out = a;
    return 0;
}

int audit_anchors_open(struct audit_anchors *a, const char *session_id, const char *session_dir,
                       bool *out_same_disk, struct vd_err *err)
{
    struct stat own, other;
    int rc;

    *out_same_disk = false;
    (void)snprintf(a->session_id, sizeof(a->session_id), "%s", session_id);
    if (!a->file.dir)
        return 0;
    rc = anchor_file_open(&a->file, a->session_id, err);
    if (rc)
        return vd_prefix(err, rc, "option \"anchor_dir\"");
    *out_same_disk = fstat(a->file.fd, &own) == 0 && stat(session_dir, &other) == 0 &&
                     own.st_dev == other.st_dev;
    return 0;
}

int audit_anchors_start(struct audit_anchors *a, struct audit_ring *ring, struct vd_err *err)
{
    sigset_t all, old;
    size_t i;
    int rc = 0;

    a->ring = ring;
    (void)sigfillset(
        &all); /* the program's signals are not for these; SIGPIPE, SIGXFSZ: an errno */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    for (i = 0; i < N_SINKS && rc == 0; i++)
        if (a->sinks[i].used) {
            rc = pthread_create(&a->sinks[i].thread, NULL, sink_main, &a->sinks[i]);
            a->sinks[i].started = rc == 0;
        }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc ? vd_fail_errno(err, VD_EAUDIT, rc, "cannot start a thread for anchors") : 0;
}

void audit_anchors_sum_up(struct audit_anchors *a)
{
    char text[256];
    size_t i;

    if (!a)
        return;
    (void)pthread_mutex_lock(&a->lock);
    a->closing = true;
    (void)pthread_mutex_unlock(&a->lock);
    (void)pthread_mutex_lock(&a->ring_lock);
    for (i = 0; i < N_SINKS; i++) {
        const struct sink *s = &a->sinks[i];

        if (!s->started)
            continue;
        (void)snprintf(text, sizeof(text),
                       "%" PRIu64 " checkpoints delivered, the last one over %" PRIu64
                       " frames; %" PRIu64 " attempts failed; the one over the whole log follows",
                       s->delivered, s->frames, s->failed);
        record(a, s->bad ? AUDIT_WARNING : AUDIT_FACT, s->name, text);
    }
    a->ring = NULL;
    (void)pthread_mutex_unlock(&a->ring_lock);
}

/* A sink can hang in the kernel for ever (a network file system): then its thread and all that it
 * uses is left behind. */
static bool join(struct sink *s, const struct timespec *until)
{
    struct audit_anchors *a = s->a;
    bool ended;
    int rc = 0;

    if (!s->started)
        return true;
    (void)pthread_mutex_lock(&a->lock);
    while (!s->ended && rc == 0)
        rc = pthread_cond_clockwait(&a->wake, &a->lock, CLOCK_MONOTONIC, until);
    ended = s->ended;
    (void)pthread_mutex_unlock(&a->lock);
    if (ended) {
        (void)pthread_join(s->thread, NULL);
        return true;
    }
    say(s, true, "it does not answer and is left behind");
    return false;
}

void audit_anchors_end(struct audit_anchors *a)
{
    const uint64_t one = 1;
    struct timespec until;
    bool all = true;
    size_t i;

    if (!a)
        return;
    (void)pthread_mutex_lock(&a->lock);
    a->ending = true;
    (void)pthread_cond_broadcast(&a->wake);
    (void)pthread_mutex_unlock(&a->lock);
    (void)!write(a->command.hurry_fd, &one, sizeof(one));
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += END_SECONDS + a->command.limit_ms / 1000;
    for (i = 0; i < N_SINKS; i++)
        all = join(&a->sinks[i], &until) && all;
    if (all)
        anchors_free(a);
}
