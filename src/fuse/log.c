/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building audit events.  What was refused and what could not be read waits for the disk, and is
 * recorded also when the disk is full: the log keeps a reserve for that.
 */
#include "fuse/log.h"

#include "base/text.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIELDS_MAX 4

bool log_ready(const struct log *log)
{
    return audit_state(log->ring) == AUDIT_READY;
}

bool log_must_wait(const struct log *log, enum audit_op op)
{
    enum audit_state state = audit_state(log->ring);

    return state == AUDIT_BLOCKED || (state == AUDIT_WAITING && !audit_is_critical(op));
}

void log_wait(const struct log *log, unsigned timeout_ms)
{
    audit_wait_room(log->ring, timeout_ms);
}

/* Is `op` taken in the present state of the log? */
static bool is_taken(const struct log *log, enum audit_op op)
{
    enum audit_state state = audit_state(log->ring);

    if (state == AUDIT_RESERVED || state == AUDIT_WAITING)
        return audit_is_critical(op);
    return state == AUDIT_READY;
}

static void add_field(struct audit_field *fields, size_t *n, enum audit_tag tag, const char *text,
                      size_t len)
{
    fields[*n].tag = tag;
    fields[*n].bytes = text;
    fields[*n].len = len;
    (*n)++;
}

/* A handle is the number of a process and, above it, the flags of that. */
#define HANDLE_FLAGS 32

static void identify(struct log *log, const struct who_request *sender,
                     const struct log_event *event, struct audit_event *record)
{
    struct who_request request = *sender;

    if ((event->op == AUDIT_RELEASE || event->op == AUDIT_RELEASEDIR) && event->handle) {
        record->proc = (uint32_t)event->handle;
        record->flags |= (uint8_t)(event->handle >> HANDLE_FLAGS);
        return;
    }
    request.opener = (uint32_t)event->handle;
    record->proc = who_resolve(log->who, &request, &record->flags);
    if (event->out_handle)
        *event->out_handle = (uint64_t)record->flags << HANDLE_FLAGS | record->proc;
}

static bool put(struct log *log, const struct who_request *sender, const struct log_event *event,
                const char *path, size_t path_len)
{
    struct audit_field fields[FIELDS_MAX];
    struct audit_event record = {
        .op = event->op,
        .obj = event->obj,
        .off = event->off,
        .len = event->len,
        .result = -event->error,
        .fields = fields,
    };
    uint64_t seq;

    if (!is_taken(log, event->op))
        return false;
    if (path)
        add_field(fields, &record.n_fields, AUDIT_T_PATH, path, path_len);
    if (event->name)
        add_field(fields, &record.n_fields, AUDIT_T_NAME, event->name, strlen(event->name));
    if (event->key)
        add_field(fields, &record.n_fields, AUDIT_T_KEY, event->key, strlen(event->key));
    if (event->text)
        add_field(fields, &record.n_fields, AUDIT_T_TEXT, event->text, strlen(event->text));
    identify(log, sender, event, &record);
    seq = audit_log(log->ring, &record);
    if (seq == AUDIT_NOT_LOGGED)
        return false;
    if ((log->sync_each || audit_is_critical(event->op)) && audit_wait(log->ring, seq, NULL) != 0)
        return false;
    return !audit_failed(log->ring);
}

bool log_put(struct log *log, const struct who_request *sender, const struct log_event *event)
{
    char path[PATHS_MAX];
    size_t len;

    if (!event->with_path)
        return put(log, sender, event, NULL, 0);
    len = paths_get(log->paths, event->obj, path, sizeof(path));
    return put(log, sender, event, path, len);
}

/* May one more line be printed in this second? */
static bool line_allowed(void)
{
    static _Atomic uint64_t window; /* second << 32 | lines printed in it */
    struct timespec t;
    uint64_t second, old;

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    second = (uint64_t)t.tv_sec << 32;
    old = atomic_load(&window);
    for (;;) {
        uint64_t next = old >> 32 == second >> 32 ? old + 1 : second + 1;

        if ((uint32_t)next > LOG_LINES_PER_SECOND)
            return false;
        if (atomic_compare_exchange_weak(&window, &old, next))
            return true;
    }
}

/* One line for a person who watches.  A reader of standard error that does not keep up must not
 * stop the mount, so what cannot be written at once is dropped: the log has it. */
static void print_line(const char *path, size_t path_len, const char *name, const char *message)
{
    char shown[1024], shown_name[256] = "", line[2560];
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    int len;

    if (!line_allowed() || poll(&fd, 1, 0) != 1 || !(fd.revents & POLLOUT))
        return;
    (void)vd_text_printable(path, path_len, shown, sizeof(shown));
    if (name)
        (void)vd_text_printable(name, strlen(name), shown_name, sizeof(shown_name));
    len = snprintf(line, sizeof(line), "vdiskfs: /%s%s%s: %s\n", shown, path_len && name ? "/" : "",
                   shown_name, message);
    if (len > 0 && (size_t)len < sizeof(line) && write(STDERR_FILENO, line, (size_t)len) < 0)
        return;
}

bool log_unreadable(struct log *log, const struct who_request *sender,
                    const struct log_event *event, const char *message)
{
    struct log_event record = {
        .op = AUDIT_IOERR,
        .obj = event->obj,
        .off = event->off,
        .len = event->len,
        .error = event->error,
        .name = event->name,
        .text = message,
    };
    char path[PATHS_MAX];
    size_t len = paths_get(log->paths, event->obj, path, sizeof(path));

    print_line(path, len, event->name, message);
    return put(log, sender, &record, path, len);
}
