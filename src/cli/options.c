/* SPDX-License-Identifier: Apache-2.0 */
/* The option table and its parser.  See options.h; design, section 2. */
#include "cli/options.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef int option_set_fn(struct options *o, const char *value, struct vd_err *err);

struct option_row {
    const char *name;
    const char *argument; /* NULL: a flag */
    unsigned scope;
    option_set_fn *set;
    const char *help;
};

static int set_string(char **slot, const char *value, struct vd_err *err)
{
    char *copy = strdup(value);

    if (!copy)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    free(*slot);
    *slot = copy;
    return 0;
}

static int add_string(char **list, size_t *n, const char *value, struct vd_err *err)
{
    if (*n == OPTIONS_MAX_LIST)
        return vd_fail(err, VD_EUSAGE, "given more than %d times", OPTIONS_MAX_LIST);
    if (!value[0])
        return vd_fail(err, VD_EUSAGE, "an empty value");
    list[*n] = NULL;
    return set_string(&list[(*n)++], value, err);
}

static int parse_number(const char *value, int base, unsigned long max, unsigned long *out,
                        struct vd_err *err)
{
    char *end;
    unsigned long n;

    errno = 0;
    n = strtoul(value, &end, base);
    if (errno || end == value || *end || n > max || value[0] == '-')
        return base == 8
                   ? vd_fail(err, VD_EUSAGE, "\"%s\" is not an octal number from 0 to %lo", value,
                             max)
                   : vd_fail(err, VD_EUSAGE, "\"%s\" is not a number from 0 to %lu", value, max);
    *out = n;
    return 0;
}

static int add_member(struct options *o, const char *name, struct vd_err *err)
{
    if (o->n_chain == VD_MAX_CHAIN)
        return vd_fail(err, VD_EUSAGE, "more than %d members", VD_MAX_CHAIN);
    if (!blk_source_name_ok(name))
        return vd_fail(err, VD_EUSAGE,
                       "\"%s\" is not a bare file name (directories are given by parent_dir=)",
                       name);
    if (!o->chain)
        o->chain = calloc(VD_MAX_CHAIN, sizeof(char *));
    if (!o->chain)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    return set_string(&o->chain[o->n_chain++], name, err);
}

static int set_chain(struct options *o, const char *value, struct vd_err *err)
{
    VD_AUTO(free) char *copy = strdup(value);
    char *rest = copy, *item;
    int rc = 0;

    if (!copy)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    while (rc == 0 && (item = strsep(&rest, ":")) != NULL)
        rc = item[0] ? add_member(o, item, err)
                     : vd_fail(err, VD_EUSAGE, "an empty name in \"%s\"", value);
    return rc;
}

static int set_snapshot(struct options *o, const char *value, struct vd_err *err)
{
    return value[0] ? set_string(&o->snapshot, value, err)
                    : vd_fail(err, VD_EUSAGE, "an empty value");
}

static int set_parent_dir(struct options *o, const char *value, struct vd_err *err)
{
    return add_string(o->parent_dir, &o->n_parent_dir, value, err);
}

static int set_unverified(struct options *o, const char *value, struct vd_err *err)
{
    (void)value;
    (void)err;
    o->unverified_chain = true;
    return 0;
}

static int set_audit(struct options *o, const char *value, struct vd_err *err)
{
    return set_string(&o->audit, value, err);
}

static int set_audit_full(struct options *o, const char *value, struct vd_err *err)
{
    if (strcmp(value, "eio") == 0)
        o->audit_full = AUDIT_FULL_EIO;
    else if (strcmp(value, "block") == 0)
        o->audit_full = AUDIT_FULL_BLOCK;
    else if (strcmp(value, "unmount") == 0)
        o->audit_full = AUDIT_FULL_UNMOUNT;
    else
        return vd_fail(err, VD_EUSAGE, "\"%s\" is none of eio, block, unmount", value);
    return 0;
}

static int set_audit_flush(struct options *o, const char *value, struct vd_err *err)
{
    unsigned long n = 0;
    int rc = 0;

    o->audit_flush_s = 0;
    if (strcmp(value, "critical") == 0) {
        o->audit_flush = AUDIT_FLUSH_CRITICAL;
    } else if (strcmp(value, "always") == 0) {
        o->audit_flush = AUDIT_FLUSH_ALWAYS;
    } else if (strcmp(value, "interval") == 0) {
        o->audit_flush = AUDIT_FLUSH_INTERVAL;
    } else if (strncmp(value, "interval:", 9) == 0) {
        o->audit_flush = AUDIT_FLUSH_INTERVAL;
        rc = parse_number(value + 9, 10, 60, &n, err);
        if (rc == 0 && n == 0)
            rc = vd_fail(err, VD_EUSAGE, "at least 1 second is needed");
        o->audit_flush_s = (unsigned)n;
    } else {
        rc = vd_fail(err, VD_EUSAGE, "\"%s\" is none of critical, interval[:SECONDS], always",
                     value);
    }
    return rc;
}

#define CUSTODY_SETTER(name, field)                                                                \
    static int set_##name(struct options *o, const char *value, struct vd_err *err)                \
    {                                                                                              \
        return custody_set(&o->custody, field, value, err);                                        \
    }

CUSTODY_SETTER(evidence_id, CUSTODY_EVIDENCE_ID)
CUSTODY_SETTER(case_id, CUSTODY_CASE_ID)
CUSTODY_SETTER(examiner, CUSTODY_EXAMINER)
CUSTODY_SETTER(organisation, CUSTODY_ORGANISATION)
CUSTODY_SETTER(purpose, CUSTODY_PURPOSE)
CUSTODY_SETTER(authority, CUSTODY_AUTHORITY)
CUSTODY_SETTER(location, CUSTODY_LOCATION)
CUSTODY_SETTER(witness, CUSTODY_WITNESS)
CUSTODY_SETTER(changes, CUSTODY_CHANGES)

static int set_path(char **slot, const char *value, struct vd_err *err)
{
    return value[0] ? set_string(slot, value, err) : vd_fail(err, VD_EUSAGE, "an empty value");
}

static int set_case_file(struct options *o, const char *value, struct vd_err *err)
{
    return set_path(&o->case_file, value, err);
}

static int set_audit_key(struct options *o, const char *value, struct vd_err *err)
{
    return set_path(&o->audit_key, value, err);
}

static int set_anchor_log(struct options *o, const char *value, struct vd_err *err)
{
    if (strcmp(value, "every") == 0)
        o->anchor_log = OPTIONS_ANCHOR_EVERY;
    else if (strcmp(value, "minute") == 0)
        o->anchor_log = OPTIONS_ANCHOR_MINUTE;
    else if (strcmp(value, "off") == 0)
        o->anchor_log = OPTIONS_ANCHOR_OFF;
    else
        return vd_fail(err, VD_EUSAGE, "\"%s\" is none of every, minute, off", value);
    return 0;
}

static int set_anchor_cmd(struct options *o, const char *value, struct vd_err *err)
{
    return set_path(&o->anchor_cmd, value, err);
}

static int set_anchor_dir(struct options *o, const char *value, struct vd_err *err)
{
    return set_path(&o->anchor_dir, value, err);
}

/* From 1 second to one day. */
static int set_seconds(unsigned *out, const char *value, struct vd_err *err)
{
    unsigned long n = 0;
    int rc = parse_number(value, 10, 86400, &n, err);

    if (rc == 0 && n == 0)
        return vd_fail(err, VD_EUSAGE, "at least 1 second is needed");
    *out = (unsigned)n;
    return rc;
}

static int set_anchor_interval(struct options *o, const char *value, struct vd_err *err)
{
    return set_seconds(&o->anchor_interval, value, err);
}

static int set_anchor_timeout(struct options *o, const char *value, struct vd_err *err)
{
    return set_seconds(&o->anchor_timeout, value, err);
}

static int set_hash_inputs(struct options *o, const char *value, struct vd_err *err)
{
    if (strcmp(value, "none") != 0 && strcmp(value, "sha256") != 0)
        return vd_fail(err, VD_EUSAGE, "\"%s\" is neither none nor sha256", value);
    o->hash_inputs = strcmp(value, "sha256") == 0;
    return 0;
}

static int set_audit_mode(struct options *o, const char *value, struct vd_err *err)
{
    if (strcmp(value, "requests") != 0 && strcmp(value, "exact") != 0)
        return vd_fail(err, VD_EUSAGE, "\"%s\" is neither requests nor exact", value);
    o->audit_exact = strcmp(value, "exact") == 0;
    return 0;
}

static int set_audit_refused(struct options *o, const char *value, struct vd_err *err)
{
    (void)value;
    (void)err;
    o->audit_refused = true;
    return 0;
}

const char *options_audit_mode(const struct options *o)
{
    if (o->audit_refused)
        return o->audit_exact ? "exact+refused" : "requests+refused";
    return o->audit_exact ? "exact" : "requests";
}

static int set_uid(struct options *o, const char *value, struct vd_err *err)
{
    unsigned long n = 0;
    int rc = parse_number(value, 10, UINT32_MAX - 1ul, &n, err);

    o->uid = (uid_t)n;
    o->has_uid = rc == 0;
    return rc;
}

static int set_gid(struct options *o, const char *value, struct vd_err *err)
{
    unsigned long n = 0;
    int rc = parse_number(value, 10, UINT32_MAX - 1ul, &n, err);

    o->gid = (gid_t)n;
    o->has_gid = rc == 0;
    return rc;
}

static int set_umask(struct options *o, const char *value, struct vd_err *err)
{
    unsigned long n = 0;
    int rc = parse_number(value, 8, 0777, &n, err);

    o->umask = (mode_t)n;
    o->has_umask = rc == 0;
    return rc;
}

static int set_symlinks(struct options *o, const char *value, struct vd_err *err)
{
    if (strcmp(value, "contain") != 0 && strcmp(value, "raw") != 0)
        return vd_fail(err, VD_EUSAGE, "\"%s\" is neither contain nor raw", value);
    o->symlinks_raw = strcmp(value, "raw") == 0;
    return 0;
}

static int set_threads(struct options *o, const char *value, struct vd_err *err)
{
    unsigned long n = 0;
    int rc = parse_number(value, 10, 256, &n, err);

    if (rc == 0 && n == 0)
        return vd_fail(err, VD_EUSAGE, "at least 1 thread is needed");
    o->threads = (unsigned)n;
    return rc;
}

static int set_sandbox(struct options *o, const char *value, struct vd_err *err)
{
    if (strcmp(value, "best") == 0)
        o->sandbox = PROC_SANDBOX_BEST;
    else if (strcmp(value, "require") == 0)
        o->sandbox = PROC_SANDBOX_REQUIRE;
    else if (strcmp(value, "off") == 0)
        o->sandbox = PROC_SANDBOX_OFF;
    else
        return vd_fail(err, VD_EUSAGE, "\"%s\" is none of require, best, off", value);
    return 0;
}

static int set_fsname(struct options *o, const char *value, struct vd_err *err)
{
    return set_string(&o->fsname, value, err);
}

static int set_allow_other(struct options *o, const char *value, struct vd_err *err)
{
    (void)value;
    (void)err;
    o->allow_other = true;
    return 0;
}

#define OPEN  (OPTION_OPEN | OPTION_MOUNT)
#define MOUNT OPTION_MOUNT

static const struct option_row option_table[] = {
    {"chain", "FILE[:FILE...]", OPEN, set_chain,
     "The members of the snapshot chain, tip first, as bare file names. Without it the parent "
     "hints in the files are followed. Either way every link is verified."},
    {"snapshot", "N|NAME|tip", OPEN, set_snapshot,
     "The point of the chain that is shown: its number (0 is the base), the file name of a member, "
     "the name of a snapshot as the .vmsd beside the image has it, or tip (default): the file that "
     "was named. The whole chain is verified all the same."},
    {"parent_dir", "DIR", OPEN, set_parent_dir,
     "Another directory in which parents and extents may lie. May be given more than once. "
     "Without it only the directory of the image is searched."},
    {"unverified_chain", NULL, OPEN, set_unverified,
     "Shows a chain whose links do not match. Each mismatch becomes a warning in info.txt and in "
     "the log."},
    {"sandbox", "require|best|off", OPEN, set_sandbox,
     "best (default): what the kernel offers, the rest is reported. require: refuse to run when "
     "anything is missing. off: no sandbox, reported."},
    {"audit", "DIR", MOUNT, set_audit,
     "Where the log goes: each mount gets a directory of its own in DIR. Default: "
     "/var/log/vdiskfs for root, else $XDG_STATE_HOME/vdiskfs or ~/.local/state/vdiskfs. Must not "
     "lie in or below an evidence directory or below the mount point."},
    {"audit_mode", "requests|exact", MOUNT, set_audit_mode,
     "requests (default): every request that reaches the program is in the log; what the kernel "
     "serves again from its caches does not reach it. exact: those caches are not used, so that "
     "every read(2), stat(2), lookup and listing is in the log; slower. docs/audit-modes.md has "
     "the "
     "measured table of what each mode sees, and what neither does."},
    {"audit_refused", NULL, MOUNT, set_audit_refused,
     "Writes that are refused are in the log, too: the superblock is rw, so that the kernel does "
     "not refuse them unseen, and the program refuses every one of them (EROFS). Without it the "
     "mount is ro on top of the program's refusals."},
    {"audit_full", "eio|block|unmount", MOUNT, set_audit_full,
     "What happens when the log's disk is full, after a warning when it gets low. eio (default): "
     "every access is answered EIO until there is space again, without a new mount; only the "
     "attributes of the root are still shown. block: accesses wait for space; whoever waits "
     "can be killed, but does not freeze for suspend, and other failures than lack of space still "
     "answer EIO. unmount: the mount is ended as soon as the log cannot be written, for whatever "
     "reason; vdiskfs ends with exit status 6. In each case a reserve holds what was answered, "
     "refused calls and the end of the log."},
    {"audit_flush", "critical|interval[:SECONDS]|always", MOUNT, set_audit_flush,
     "What a power failure may take from the log. interval (default): the last second, or up to "
     "60. "
     "always: nothing that was answered, each access waits for the disk. critical: what came since "
     "the last critical record, at most a minute. Mounting, changed evidence, refused calls and "
     "unreadable bytes always wait for the disk. A crash of the program loses nothing either way."},
    {"audit_key", "FILE", MOUNT, set_audit_key,
     "A laboratory's private key (Ed25519, PEM, not encrypted, readable by its owner alone): it "
     "signs the first checkpoint, so that audit verify --key with its public key shows that the "
     "log "
     "is the laboratory's. Make one with: openssl genpkey -algorithm ed25519 -out FILE. The public "
     "key is shown when the mount begins."},
    {"anchor_log", "every|minute|off", MOUNT, set_anchor_log,
     "Checkpoints of the log as lines on standard error (in the foreground) or in the system log: "
     "every one (default; of several within a second the newest, which covers the others), one a "
     "minute, or none. The last one comes in any case but off. audit verify --anchor reads them."},
    {"anchor_cmd", "COMMAND", MOUNT, set_anchor_cmd,
     "Runs COMMAND with /bin/sh in the directory / for checkpoints, with the checkpoint on "
     "standard "
     "input: a time stamp, a mail, a printer. VDISKFS_SESSION, VDISKFS_FRAMES and VDISKFS_LAST (1: "
     "the one over the whole log) are in its environment. One at a time; the newest checkpoint "
     "when "
     "several wait, and always the last one. A failure is a WARNING in the log and does not end "
     "the "
     "mount."},
    {"anchor_interval", "SECONDS", MOUNT, set_anchor_interval,
     "Least time between the end of a run of anchor_cmd and the next one. Default 60. The last "
     "checkpoint does not wait."},
    {"anchor_timeout", "SECONDS", MOUNT, set_anchor_timeout,
     "A run of anchor_cmd that takes longer is killed. Default 30. Unmounting waits so long at "
     "most "
     "for the last one."},
    {"anchor_dir", "DIR", MOUNT, set_anchor_dir,
     "A second directory, best on another disk: checkpoints are appended to DIR/SESSION.notes. "
     "Must "
     "not lie in or below an evidence directory or below the mount point."},
    {"case_file", "FILE", MOUNT, set_case_file,
     "Lines \"name = value\" (UTF-8, # begins a comment) for the nine options that follow. An "
     "option "
     "that says something else than the file is an error."},
    {"evidence_id", "TEXT", MOUNT, set_evidence_id, "Evidence number, for the log."},
    {"case_id", "TEXT", MOUNT, set_case_id, "Case number, for the log."},
    {"examiner", "TEXT", MOUNT, set_examiner, "Who works, for the log."},
    {"organisation", "TEXT", MOUNT, set_organisation, "For whom, for the log."},
    {"purpose", "TEXT", MOUNT, set_purpose, "Why, for the log."},
    {"authority", "TEXT", MOUNT, set_authority, "By which order or warrant, for the log."},
    {"location", "TEXT", MOUNT, set_location, "Where, for the log."},
    {"witness", "TEXT", MOUNT, set_witness, "Who is present, for the log."},
    {"changes", "TEXT", MOUNT, set_changes,
     "Changes to the evidence that could not be avoided before the mount, by whom and why, for the "
     "log. Default: none."},
    {"hash_inputs", "none|sha256", MOUNT, set_hash_inputs,
     "sha256: reads every file of the chain in the background, at the lowest priority, and records "
     "its SHA-256 in the log when it is done (vdiskctl audit show --op EVIDENCE_HASH); unmounting "
     "does not wait for it. Default none."},
    {"uid", "N", MOUNT, set_uid,
     "Owner of every file. Default: as the evidence has it; the mounting user where it has none. "
     "With uid=, gid= or umask= files show mode 0444 and directories 0555."},
    {"gid", "N", MOUNT, set_gid, "Group of every file; see uid=."},
    {"umask", "OCTAL", MOUNT, set_umask, "Permission bits to clear; see uid=."},
    {"symlinks", "contain|raw", MOUNT, set_symlinks,
     "contain (default): links are rewritten so that none leads out of its fs/ directory. raw: "
     "the target as it stands in the evidence. The raw target is always in the attribute "
     "vdiskfs.link_raw."},
    {"threads", "N", MOUNT, set_threads, "Most requests served at the same time. Default 16."},
    {"fsname", "TEXT", MOUNT, set_fsname,
     "Source shown in /proc/mounts. Default: the path of the image."},
    {"allow_other", NULL, MOUNT, set_allow_other,
     "Lets other users of this machine (indexers and thumbnailers among them) into the mount."},
};

/* Options of mount(8) and of fstab that say nothing to us, or what we do anyway. */
static const char *const generic_option[] = {
    "ro",          "rw",       "defaults",
    "suid",        "nosuid",   "dev",
    "nodev",       "exec",     "noexec",
    "auto",        "noauto",   "user",
    "nouser",      "users",    "owner",
    "group",       "nofail",   "_netdev",
    "atime",       "noatime",  "diratime",
    "nodiratime",  "relatime", "norelatime",
    "strictatime", "lazytime", "nolazytime",
    "sync",        "async",    "dirsync",
    "silent",      "loud",     "default_permissions",
    "nonempty",    "dev",
};

static bool is_generic(const char *name)
{
    size_t i;

    if (strncmp(name, "x-", 2) == 0 || strncmp(name, "X-", 2) == 0 ||
        strncmp(name, "comment", 7) == 0 || strncmp(name, "user=", 5) == 0)
        return true;
    for (i = 0; i < sizeof(generic_option) / sizeof(generic_option[0]); i++)
        if (strcmp(name, generic_option[i]) == 0)
            return true;
    return false;
}

static const struct option_row *find_row(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(option_table) / sizeof(option_table[0]); i++)
        if (strcmp(option_table[i].name, name) == 0)
            return &option_table[i];
    return NULL;
}

static int remember(struct options *o, const char *item, struct vd_err *err)
{
    char **v = realloc(o->given, (o->n_given + 2) * sizeof(char *));

    if (!v)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    o->given = v;
    v[o->n_given] = strdup(item);
    if (!v[o->n_given])
        return vd_fail(err, VD_ENOMEM, "out of memory");
    v[++o->n_given] = NULL;
    return 0;
}

static int parse_one(struct options *o, const char *item, unsigned scope, struct vd_err *err)
{
    VD_AUTO(free) char *name = strdup(item);
    const struct option_row *row;
    char *value;
    int rc;

    if (!name)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if ((scope & OPTION_MOUNT) && is_generic(item))
        return 0;
    value = strchr(name, '=');
    if (value)
        *value++ = '\0';
    if (strcmp(name, "remount") == 0)
        return vd_fail(err, VD_EUSAGE,
                       "option \"remount\": a mounted image cannot be remounted; unmount it and "
                       "mount it again");
    row = find_row(name);
    if (!row)
        return vd_fail(err, VD_EUSAGE, "unknown option \"%s\"", name);
    if (!(row->scope & scope))
        return vd_fail(err, VD_EUSAGE, "option \"%s\" is for mounting only", name);
    if (row->argument && !value)
        return vd_fail(err, VD_EUSAGE, "option \"%s\" needs a value: %s=%s", name, name,
                       row->argument);
    if (!row->argument && value)
        return vd_fail(err, VD_EUSAGE, "option \"%s\" takes no value", name);
    rc = row->set(o, value ? value : "", err);
    if (rc)
        return vd_prefix(err, rc, "option \"%s\"", name);
    return remember(o, item, err);
}

int options_parse(struct options *o, const char *text, unsigned scope, struct vd_err *err)
{
    VD_AUTO(free) char *item = malloc(strlen(text) + 1);
    int rc = 0;

    if (!item)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    while (*text && rc == 0) {
        size_t n = 0;

        for (; *text && *text != ','; text++) {
            if (*text == '\\' && (text[1] == ',' || text[1] == '\\'))
                text++;
            item[n++] = *text;
        }
        item[n] = '\0';
        if (*text == ',')
            text++;
        if (n)
            rc = parse_one(o, item, scope, err);
    }
    return rc;
}

int options_complete(struct options *o, struct vd_err *err)
{
    int rc = 0;

    if (o->case_file)
        rc = custody_read_file(&o->custody, o->case_file, err);
    if (rc == 0 && !o->custody.v[CUSTODY_CHANGES])
        rc = custody_set(&o->custody, CUSTODY_CHANGES, "none", err);
    return vd_prefix(err, rc, "option \"case_file\"");
}

static void free_list(char **list, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        free(list[i]);
}

void options_clear(struct options *o)
{
    free_list(o->chain, o->n_chain);
    free(o->chain);
    free(o->snapshot);
    free_list(o->parent_dir, o->n_parent_dir);
    free_list(o->given, o->n_given);
    free(o->given);
    free(o->audit);
    custody_clear(&o->custody);
    free(o->case_file);
    free(o->audit_key);
    free(o->anchor_cmd);
    free(o->anchor_dir);
    free(o->fsname);
    *o = (struct options){0};
}

void options_each(void (*fn)(void *ctx, const char *usage, const char *help, unsigned scope),
                  void *ctx)
{
    size_t i;

    for (i = 0; i < sizeof(option_table) / sizeof(option_table[0]); i++) {
        const struct option_row *row = &option_table[i];
        char usage[128];
        size_t n = vd_text_copy(usage, sizeof(usage), row->name);

        if (row->argument) {
            n += vd_text_copy(usage + n, sizeof(usage) - n, "=");
            (void)vd_text_copy(usage + n, sizeof(usage) - n, row->argument);
        }
        fn(ctx, usage, row->help, row->scope);
    }
}
