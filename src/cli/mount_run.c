/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mount from start to end.  The order matters:
 *
 *   log opened ─▶ session header in the ring ─▶ fork: worker opens and verifies the chain
 *     ─▶ supervisor mounts ─▶ worker serves ─▶ … ─▶ unmounted ─▶ close record, log read-only
 *
 * Nothing is mounted unless the log can be written and the chain is verified.
 */
#include "cli/mount_run.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/inputs_watch.h"
#include "cli/mount_anchors.h"
#include "cli/mount_watch.h"
#include "cli/notice.h"
#include "cli/session_record.h"
#include "fuse/mountinfo.h"
#include "fuse/mountpoint.h"
#include "fuse/serve.h"
#include "tree/snapshots.h"
#include "tree/tree.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct mount_state {
    const struct mount_run *run;
    struct audit_writer *audit;
    struct audit_ring *ring;
    struct mountpoint *mp;
    struct audit_anchors *anchors; /* NULL: none */
    struct mount_say say;
    struct mount_watch watch;
    char first_key[192]; /* of the log, "NAME+ID+BASE64" */
    char lab_key[192];   /* likewise, or "" */
    bool usable;         /* MOUNTED was seen */
    bool signalled;      /* ended by SIGINT, SIGTERM, SIGHUP or SIGQUIT */
    /* The log cannot be written, and audit_full=unmount: set by the audit thread, the text before. */
    char log_why[256];
    atomic_bool log_failed;
};

/* ---- in the worker ---- */

static void log_fact(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                     const char *value)
{
    const struct audit_field fields[] = {
        {AUDIT_T_NAME, layer, strlen(layer)},
        {AUDIT_T_KEY, key, strlen(key)},
        {AUDIT_T_TEXT, value, strlen(value)},
    };
    const struct audit_event event = {
        .op = kind == VD_FACT_WARNING ? AUDIT_WARNING : AUDIT_FACT,
        .fields = fields,
        .n_fields = 3,
    };

    (void)audit_log(ctx, &event);
}

/* What was found on the disk at one point in time. */
static void describe_point(const struct vd_point *point, vd_fact_fn *fn, void *ctx)
{
    size_t i;

    vd_facts_each(&point->table.facts, "partition table", fn, ctx);
    for (i = 0; i < point->n; i++)
        if (point->v[i].fs)
            fs_describe(point->v[i].fs, fn, ctx);
}

static void log_case(struct audit_ring *ring, const struct vd_case *c)
{
    size_t i;

    vd_facts_each(&c->chain->facts, "chain", log_fact, ring);
    for (i = 0; i < c->chain->n; i++) {
        const struct image *image = c->chain->v[i];

        log_fact(ring, image->name, VD_FACT_INFO, "kind", image->kind);
        if (image->identity[0])
            log_fact(ring, image->name, VD_FACT_INFO, "identity", image->identity);
        vd_facts_each(&image->facts, image->name, log_fact, ring);
        blk_describe(image->dev, log_fact, ring);
    }
    describe_point(c->point, log_fact, ring);
}

/* Where the facts of an older point go. */
struct point_log {
    struct audit_ring *ring;
    size_t number;
    int digits;
};

static void log_point_fact(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                           const char *value)
{
    const struct point_log *log = ctx;
    char where[512];

    (void)snprintf(where, sizeof(where), "snapshots/%0*zu: %s", log->digits, log->number, layer);
    log_fact(log->ring, where, kind, key, value);
}

/* An older point was opened: what was found is on the record before anybody sees it. */
static void log_point(void *ctx, const struct vd_point *point)
{
    struct point_log log = {ctx, case_point_number(point->chain, point->member),
                            snapshots_digits(point->chain)};

    log_point_fact(&log, point->chain->v[point->member]->name, VD_FACT_INFO, "point", "opened");
    describe_point(point, log_point_fact, &log);
}

static void tree_options_of(const struct options *o, struct tree_options *out)
{
    *out = (struct tree_options){
        .uid = o->has_uid ? o->uid : getuid(),
        .gid = o->has_gid ? o->gid : getgid(),
        .force_uid = o->has_uid,
        .force_gid = o->has_gid,
        .has_umask = o->has_umask,
        .umask = o->umask,
        .symlinks = o->symlinks_raw ? TREE_SYMLINKS_RAW : TREE_SYMLINKS_CONTAIN,
        .mount_time = (int64_t)time(NULL),
        .evidence_permissions = getuid() == 0 && !o->has_uid && !o->has_gid && !o->has_umask,
    };
}

static int serve_case(struct mount_state *state, struct proc_channel *channel, struct vd_case *c,
                      struct vd_err *err)
{
    const struct options *o = state->run->options;
    const struct case_context context = {
        .option = (const char *const *)o->given,
        .sandbox = proc_channel_sandbox(channel),
        .audit = audit_session_dir(state->audit),
        .audit_key = state->first_key,
        .audit_mode = options_audit_mode(o),
    };
    VD_AUTO(free) char *text = case_info_text(c->point, &context);
    VD_AUTO(free) char *json = case_info_json(c->point, &context);
    struct tree_options tree_options;
    struct inputs_watch *watch = NULL;
    struct tree *tree = NULL;
    int rc;

    if (!text || !json)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    tree_options_of(o, &tree_options);
    tree_options.point_opened = log_point;
    tree_options.point_opened_ctx = state->ring;
    rc = tree_new(c, &tree_options, text, json, &tree, err);
    if (rc == 0)
        rc = inputs_watch_start(c->chain, state->ring, o->hash_inputs, &watch, err);
    if (rc == 0) {
        const struct serve_config config = {
            .tree = tree,
            .ring = state->ring,
            .channel = channel,
            .threads = o->threads,
            .exact = o->audit_exact,
            .sync_each = o->audit_flush == AUDIT_FLUSH_ALWAYS,
        };

        rc = serve_mount(&config, err);
    }
    inputs_watch_stop(watch);
    tree_free(tree);
    return rc;
}

static int mount_worker(struct proc_channel *channel, void *arg, struct vd_err *err)
{
    struct mount_state *state = arg;
    const struct options *o = state->run->options;
    const struct case_options options = {
        .chain = {.members = (const char *const *)o->chain,
                  .n_members = o->n_chain,
                  .unverified = o->unverified_chain,
                  .snapshot = o->snapshot},
    };
    const char *sandbox = proc_channel_sandbox(channel);
    struct blk_source source;
    struct vd_case *c = NULL;
    int rc;

    fs_init(); /* while there is one thread */
    log_fact(state->ring, "worker", VD_FACT_INFO, "sandbox", sandbox);
    proc_channel_source(channel, &source);
    rc = case_open(&source, state->run->image->name, &options, &c, err);
    if (rc == 0) {
        log_case(state->ring, c);
        rc = serve_case(state, channel, c, err);
    }
    case_free(c);
    return rc;
}

/* ---- in the supervisor ---- */

static int do_mount(void *ctx, int *out_fuse_fd, struct vd_err *err)
{
    struct mount_state *state = ctx;
    const struct options *o = state->run->options;
    const struct mountpoint_options options = {
        .path = state->run->mountpoint,
        .fsname = o->fsname ? o->fsname : state->run->image->full,
        .extra = o->allow_other ? "allow_other" : NULL,
        .see_refused = o->audit_refused,
    };

    uint32_t major, minor;
    int rc = mountpoint_mount(&options, &state->mp, out_fuse_fd, err);

    if (rc)
        return rc;
    mountpoint_device(state->mp, &major, &minor);
    audit_note_mount(state->audit, major, minor, state->run->mountpoint);
    return 0;
}

static int on_mounted(void *ctx, struct vd_err *err)
{
    struct mount_state *state = ctx;
    const char *in_force = mount_watch_start(&state->watch, state->mp);
    const char *text = in_force ? in_force : "";
    const struct audit_field fields[] = {
        {AUDIT_T_PATH, state->run->mountpoint, strlen(state->run->mountpoint)},
        {AUDIT_T_TEXT, text, strlen(text)},
    };
    const struct audit_event event = {.op = AUDIT_MOUNTED, .fields = fields, .n_fields = 2};

    int rc = audit_wait(state->ring, audit_log(state->ring, &event), err);

    if (rc)
        return rc;
    state->usable = true;
    if (state->run->ready)
        state->run->ready(state->run->ctx);
    return 0;
}

static int on_forked(void *ctx, struct vd_err *err)
{
    struct mount_state *state = ctx;

    return state->anchors ? audit_anchors_start(state->anchors, state->ring, err) : 0;
}

static void on_tick(void *ctx)
{
    struct mount_state *state = ctx;

    mount_watch_look(&state->watch, state->mp, state->ring, &state->say);
}

static void on_unmount(void *ctx)
{
    struct mount_state *state = ctx;

    state->signalled = true;
    if (state->mp)
        mountpoint_unmount(state->mp);
}

/* The part of `path` that exists, resolved: where a directory that is still to be made would land.
 * NULL: memory, nothing of it exists, or the rest has a "..", which leads elsewhere once the names
 * before it were made. */
static char *existing_part(const char *path)
{
    VD_AUTO(free) char *part = strdup(path);
    char *real, *slash;

    while (part && part[0]) {
        real = realpath(part, NULL);
        if (real)
            return real;
        slash = strrchr(part, '/');
        if (strcmp(slash ? slash + 1 : part, "..") == 0)
            return NULL;
        if (!slash)
            return realpath(".", NULL);
        slash[slash == part] = '\0';
    }
    return NULL;
}

/* Nothing that is written may land among the evidence, or beneath the mount. */
static int check_place(const struct mount_run *run, const char *option, const char *path,
                       struct vd_err *err)
{
    VD_AUTO(free) char *real = existing_part(path);
    unsigned i;

    if (!real)
        return vd_fail(err, VD_EAUDIT, "option \"%s\": %s cannot be resolved", option, path);
    if (path_is_below(real, run->mountpoint))
        return vd_fail(err, VD_EUSAGE, "option \"%s\": %s lies below the mount point", option,
                       real);
    for (i = 0; i < run->image->n_dirs; i++) {
        VD_AUTO(free) char *dir = realpath(run->image->dirs[i], NULL);

        if (dir && (path_is_below(real, dir) || path_leads_into(real, dir)))
            return vd_fail(err, VD_EUSAGE,
                           "option \"%s\": %s lies in the evidence directory %s: nothing is "
                           "written there",
                           option, real, dir);
    }
    return 0;
}

static int check_places(const struct mount_run *run, const char *audit_dir, struct vd_err *err)
{
    int rc;

    if (path_is_below(run->image->dir, run->mountpoint))
        return vd_fail(err, VD_EUSAGE, "mount point %s: it would hide the evidence itself",
                       run->mountpoint);
    rc = check_place(run, "audit", audit_dir, err);
    if (rc == 0 && run->options->anchor_dir)
        rc = check_place(run, "anchor_dir", run->options->anchor_dir, err);
    return rc;
}

/* ---- the log's own troubles: called by the audit thread ---- */

static void log_notice(void *ctx, const char *line)
{
    (void)ctx;
    notice_print(line);
}

/* Ends the mount the way a signal does. */
static void log_give_up(void *ctx, const char *why)
{
    struct mount_state *state = ctx;

    (void)vd_text_copy(state->log_why, sizeof(state->log_why), why);
    atomic_store(&state->log_failed, true);
    (void)kill(getpid(), SIGTERM); /* held back until the supervisor looks for it */
}

static enum audit_close_reason close_reason(const struct mount_state *state, bool died, int rc)
{
    if (died)
        return AUDIT_CLOSE_WORKER_DIED;
    if (atomic_load(&state->log_failed))
        return AUDIT_CLOSE_LOG_FULL;
    if (!state->usable || rc)
        return AUDIT_CLOSE_FAILED;
    return state->signalled ? AUDIT_CLOSE_SIGNAL : AUDIT_CLOSE_CLEAN;
}

/* The worker ended well, by itself, and yet the mount stands: umount -f of one that is in use, or an
 * abort by hand, cut the connection.  A moment is given to the umount -f that goes on to detach it. */
static void tell_cut_off(struct mount_state *state)
{
    static const char text[] =
        "the connection of the mount was cut by somebody (umount -f while it "
        "was in use, or an abort); a dead mount is left: vdiskctl umount";
    VD_AUTO(free) char *before = state->mp ? mountpoint_in_force(state->mp) : NULL;
    VD_AUTO(free) char *after = NULL;

    if (!before)
        return;
    (void)usleep(100000);
    after = mountpoint_in_force(state->mp);
    if (!after)
        return;
    log_fact(state->ring, "mount", VD_FACT_WARNING, "connection", text);
    (void)mount_say(&state->say, true, text);
}

static int run_pair(struct mount_state *state, struct vd_err *err)
{
    const struct image_path *image = state->run->image;
    VD_AUTO(fd) int watch_fd = mountinfo_watch();
    const struct proc_config config = {
        .dirs = image->dirs,
        .n_dirs = image->n_dirs,
        .block_device = image->is_block ? image->name : NULL,
        .sandbox = state->run->options->sandbox,
        .worker = mount_worker,
        .arg = state,
        .audit = state->audit,
        .ring = state->ring,
        .mount = do_mount,
        .mounted = on_mounted,
        .forked = on_forked,
        .tick = on_tick,
        .watch_fd = watch_fd,
        .unmount = on_unmount,
        .ctx = state,
    };
    struct vd_err close_err = VD_ERR_INIT;
    bool died = false, gave_up;
    int rc = proc_run(&config, &died, err), closed;

    if (rc == 0 && !died && state->usable && !state->signalled)
        tell_cut_off(state);
    gave_up = !died && atomic_load(&state->log_failed);
    audit_anchors_sum_up(state->anchors);
    closed = audit_close(state->audit, close_reason(state, died, rc), &close_err);
    audit_anchors_end(vd_take(&state->anchors));
    /* A worker that ended well did so because the mount is gone: by umount, or by on_unmount.  What
     * stands there now is somebody else's.  A worker that died in service leaves a dead mount, so
     * that nobody takes an empty directory for the evidence. */
    mountpoint_free(state->mp, rc == 0 || (died && state->usable));
    if (rc == 0 && closed) {
        *err = close_err;
        rc = closed;
    }
    if (rc == 0 && gave_up)
        rc = vd_fail(err, VD_EAUDIT, "audit log: %s; the mount was ended (audit_full=unmount)",
                     state->log_why);
    return rc;
}

/* What the log promises in this session is part of it. */
static uint64_t record_policy(struct mount_state *state)
{
    static const char *const full[] = {"eio", "block", "unmount"};
    const struct options *o = state->run->options;
    char text[128];
    struct audit_field field = {AUDIT_T_TEXT, text, 0};
    const struct audit_event event = {.op = AUDIT_POLICY, .fields = &field, .n_fields = 1};

    (void)snprintf(text, sizeof(text), "audit_full=%s,audit_flush=", full[o->audit_full]);
    field.len = strlen(text);
    if (o->audit_flush == AUDIT_FLUSH_INTERVAL)
        (void)snprintf(text + field.len, sizeof(text) - field.len, "interval:%u",
                       o->audit_flush_s ? o->audit_flush_s : 1);
    else
        (void)snprintf(text + field.len, sizeof(text) - field.len, "%s",
                       o->audit_flush == AUDIT_FLUSH_ALWAYS ? "always" : "critical");
    field.len = strlen(text);
    return audit_log(state->ring, &event);
}

/* The session before this one crashed: its log waits for somebody who closes it. */
static void warn_left_open(struct mount_state *state, const char *id)
{
    const char *dir = audit_session_dir(state->audit), *slash = strrchr(dir, '/');
    char text[2 * PATH_MAX];

    (void)snprintf(
        text, sizeof(text),
        "the previous session was left open (a crash); close its log with: vdiskctl audit "
        "recover %.*s/%s",
        (int)(slash - dir), dir, id);
    log_fact(state->ring, "audit", VD_FACT_WARNING, "previous", text);
    if (state->run->warn)
        state->run->warn(state->run->ctx, text);
}

/* The session header is sealed before the worker exists: nothing that evidence does to the worker can
 * reach it. */
static int record_session(struct mount_state *state, struct vd_err *err)
{
    struct audit_previous previous;
    struct vd_err why = VD_ERR_INIT;
    int rc = audit_previous(state->audit, &previous, &why);
    uint64_t seq = session_record_open(state->ring, state->run, &previous);

    if (rc)
        log_fact(state->ring, "audit", VD_FACT_WARNING, "previous", why.msg);
    if (seq != AUDIT_NOT_LOGGED && previous.left_open[0])
        warn_left_open(state, previous.left_open);
    if (state->lab_key[0])
        log_fact(state->ring, "audit", VD_FACT_INFO, "laboratory key", state->lab_key);
    if (seq != AUDIT_NOT_LOGGED)
        seq = record_policy(state);
    return audit_wait(state->ring, seq, err);
}

/* The supervisor takes these from a signalfd while the worker lives; before and after that they must
 * not end the program with an open log. */
static void hold_signals(void)
{
    struct sigaction child = {.sa_handler = SIG_DFL};
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGQUIT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN); /* messages to a standard error that nobody reads */
    /* Whoever started the program may ignore SIGCHLD; then children vanish without a status. */
    (void)sigaction(SIGCHLD, &child, NULL);
}

static int open_anchors(struct mount_state *state, struct vd_err *err)
{
    bool same_disk = false;
    int rc;

    if (!state->anchors)
        return 0;
    rc = audit_anchors_open(state->anchors, audit_session_id(state->audit),
                            audit_session_dir(state->audit), &same_disk, err);
    if (rc == 0 && same_disk)
        log_fact(state->ring, "anchor", VD_FACT_WARNING, "anchor_dir",
                 "the directory is on the same file system as the log");
    return rc;
}

/* The log is open. */
static int run_session(struct mount_state *state, struct vd_err *err)
{
    const struct mount_run *run = state->run;
    int rc;

    audit_first_key(state->audit, state->first_key);
    audit_lab_key(state->audit, state->lab_key);
    hold_signals();
    rc = record_session(state, err);
    if (rc == 0)
        rc = open_anchors(state, err);
    if (rc) {
        (void)audit_close(state->audit, AUDIT_CLOSE_FAILED, NULL);
        return rc;
    }
    if (run->log_key)
        run->log_key(run->ctx, state->first_key, state->lab_key);
    return run_pair(state, err);
}

int mount_run(const struct mount_run *run, struct vd_err *err)
{
    VD_AUTO(free) char *fallback = run->options->audit ? NULL : audit_default_dir();
    struct mount_state state = {.run = run, .say = {.foreground = run->foreground}};
    struct audit_config config = {
        .dir = run->options->audit ? run->options->audit : fallback,
        .lab_key = run->options->audit_key,
        .full = run->options->audit_full,
        .flush = run->options->audit_flush,
        .sync_ms = run->options->audit_flush_s * 1000,
        .notice = log_notice,
        .give_up = log_give_up,
        .notice_ctx = &state,
    };
    int rc;

    if (!config.dir)
        return vd_fail(err, VD_EAUDIT, "no directory for the log: set audit=DIR");
    rc = check_places(run, config.dir, err);
    if (rc == 0)
        rc = mount_anchors_new(run->options, &state.say, &state.anchors, err);
    if (state.anchors) {
        config.anchor = audit_anchors_take;
        config.anchor_ctx = state.anchors;
    }
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is an error of writing the log */
    if (rc == 0)
        rc = audit_open(&config, &state.audit, &state.ring, err);
    if (rc == 0)
        rc = run_session(&state, err);
    audit_anchors_end(state.anchors);
    mount_watch_clear(&state.watch);
    return rc;
}
