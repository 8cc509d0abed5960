/* SPDX-License-Identifier: Apache-2.0 */
/* Help texts.  What both programs and both manual pages say about options comes from one table, so
 * that they cannot disagree with the parser. */
#include "cli/help.h"

#include "base/version.h"
#include "cli/options.h"

#include <string.h>

struct sink {
    FILE *out;
    unsigned scope;
    bool man;
};

/* Wraps `text` at 79 columns behind `indent` blanks. */
static void print_wrapped(FILE *out, const char *text, int indent)
{
    int column = indent;

    (void)fprintf(out, "%*s", indent, "");
    while (*text) {
        size_t n = strcspn(text, " ");

        if (column > indent && column + (int)n + 1 > 79) {
            (void)fprintf(out, "\n%*s", indent, "");
            column = indent;
        }
        if (column > indent) {
            (void)fputc(' ', out);
            column++;
        }
        (void)fprintf(out, "%.*s", (int)n, text);
        column += (int)n;
        text += n;
        while (*text == ' ')
            text++;
    }
    (void)fputc('\n', out);
}

/* man(7): a leading dot or quote would be a request, a backslash an escape, a hyphen a hyphen. */
static void print_man_text(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        (void)fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '\\')
            (void)fputs("\\e", out);
        else if (*text == '-')
            (void)fputs("\\-", out);
        else
            (void)fputc(*text, out);
    }
    (void)fputc('\n', out);
}

static void print_option(void *ctx, const char *usage, const char *help, unsigned scope)
{
    const struct sink *sink = ctx;

    if (!(scope & sink->scope))
        return;
    if (sink->man) {
        (void)fputs(".TP\n.B ", sink->out);
        print_man_text(sink->out, usage);
        print_man_text(sink->out, help);
    } else {
        (void)fprintf(sink->out, "  %s\n", usage);
        print_wrapped(sink->out, help, 6);
    }
}

static const char exit_codes[] =
    "0 done, 1 usage, 2 cannot open or unsupported, 3 chain or integrity "
    "refused, 4 key needed or wrong, 5 mount failed, 6 audit log unavailable, 7 "
    "verification found a difference, check found errors or warnings, export had to put "
    "zeros for bytes that cannot be had.";

void help_vdiskfs(FILE *out)
{
    struct sink sink = {out, OPTION_MOUNT, false};

    (void)fputs("Usage: vdiskfs IMAGE MOUNTPOINT [-f] [-o OPTION[,OPTION...]]\n"
                "       mount -t fuse.vdiskfs IMAGE MOUNTPOINT [-o ...]\n\n"
                "Shows the disk that IMAGE and its snapshot chain give, read-only: disk.img, a\n"
                "directory per partition with its files, and info.txt. Every access is logged.\n\n"
                "  -f             stay in the foreground\n"
                "  -o OPTIONS     see below; \"\\,\" is a comma inside a value\n"
                "  -h, --help     this text\n"
                "  -V, --version  versions of the program and its libraries\n"
                "      --man      the manual page, as man(7) source\n\n"
                "Options of -o:\n",
                out);
    options_each(print_option, &sink);
    (void)fputs(
        "  Generic options of mount(8) and fstab (noauto, nofail, x-...) are accepted; rw,\n"
        "  exec, suid and dev change nothing: a mount is always ro,nosuid,nodev,noexec\n"
        "  (with audit_refused: rw for the kernel, and refused by the program).\n\n"
        "Exit codes:\n",
        out);
    print_wrapped(out, exit_codes, 2);
}

void help_vdiskctl(FILE *out)
{
    (void)fputs("Usage: vdiskctl VERB [ARGUMENTS]\n\n"
                "  info [--json] IMAGE      the chain and its checks, partitions, file systems\n"
                "  hash [--json] IMAGE      SHA-256 of the inputs and of the reconstructed disk\n"
                "  check [--json] IMAGE     are the structures of every file of the chain sound?\n"
                "  export --raw IMAGE OUT   the reconstructed disk as a raw file\n"
                "  audit verify LOG         has this log been changed? (--key, --anchor)\n"
                "  audit show LOG           what was accessed, by whom, when (-f: goes on)\n"
                "  audit export LOG...      the same for Timesketch, as CSV, as CASE\n"
                "  audit recover SESSION    close a log that a crash left open (--all)\n"
                "  audit prove LOG          a proof of one frame, for somebody without the log\n"
                "  umount MOUNTPOINT        unmount and wait until the log is closed\n\n"
                "vdiskctl VERB --help tells more. Nothing here needs a mount or root.\n\n"
                "Exit codes:\n",
                out);
    print_wrapped(out, exit_codes, 2);
}

static void man_head(FILE *out, const char *name, const char *title)
{
    (void)fprintf(out, ".TH %s 1 \"\" \"vdiskfs %s\" \"User Commands\"\n.SH NAME\n", name,
                  VD_VERSION);
    print_man_text(out, title);
}

static void man_section(FILE *out, const char *title, const char *text)
{
    (void)fprintf(out, ".SH %s\n", title);
    print_man_text(out, text);
}

/* What the log promises, and what it cannot: docs/durability.md has the figures. */
static void man_the_log(FILE *out)
{
    static const char *const part[] = {
        "A crash of the program, or kill -9, loses no record whose answer was sent. A record is "
        "sealed within 100 ms (longer by as much as a sync of "
        "the log's disk is slow). A power failure takes at most what audit_flush says. "
        "Critical records are on the disk before the program goes on: mounting, changed "
        "evidence or mount options, refused calls, unreadable bytes, the end.",
        "Space for the log is reserved ahead, some 18 MiB beside the 16 MiB of ring.wal. Two "
        "warnings (log, standard error, syslog) come before it is used up: less than 256 MiB "
        "free, and a quarter of that. Then audit_full says what accesses get; what was answered "
        "is sealed and the log closed intact also on a full disk. With audit_full=block a "
        "process that waits can be killed, and umount -f ends all waits, but the machine cannot "
        "be suspended while one waits. When the log's disk fails, or somebody removes or changes "
        "the log, every access is answered EIO within a second.",
        "Detected: every later change of a log, anything inserted, removed, moved or repeated, "
        "old epochs signed again; a log written anew as a whole, when its first key or the "
        "laboratory's is known. Bounded: who takes over the machine during a mount can forge "
        "from then on and what was not sealed yet, never what was before. Not covered: a worker "
        "that hostile evidence took over can leave out or falsify its own later records; what "
        "the kernel answers or refuses by itself (audit_mode, audit_refused). Without an anchor, "
        "a log whose end was cut off, or replaced by a recovery, cannot be told from one that "
        "crashed; it is never called closed.",
    };
    size_t i;

    (void)fputs(".SH THE LOG\n", out);
    for (i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        (void)fputs(i ? ".PP\n" : "", out);
        print_man_text(out, part[i]);
    }
}

void help_man_vdiskfs(FILE *out)
{
    struct sink sink = {out, OPTION_MOUNT, true};

    man_head(out, "VDISKFS", "vdiskfs - mount a virtual disk and its snapshot chain, read-only");
    (void)fputs(".SH SYNOPSIS\n.B vdiskfs\nIMAGE MOUNTPOINT [\\-f] [\\-o OPTION[,OPTION...]]\n.br\n"
                ".B mount \\-t fuse.vdiskfs\nIMAGE MOUNTPOINT [\\-o ...]\n",
                out);
    man_section(
        out, "DESCRIPTION",
        "Shows the disk that IMAGE (VMDK, VHD, VHDX or raw) and the chain of its parents "
        "give: disk.img is the raw disk, pN/volume.img each partition, pN/fs/ its files, "
        "gaps/ the space between partitions, snapshots/NN_FILE/ the same tree as of each older "
        "member of the chain, info.txt and info.json what was opened and "
        "found.");
    (void)fputs(".PP\n", out);
    print_man_text(out,
                   "Nothing is ever written: evidence is opened read-only in one place, every "
                   "modifying call is answered EROFS by the program itself, and the mount is "
                   "ro,nosuid,nodev,noexec on top of that. A chain is verified before the mount "
                   "appears. Bytes that cannot be known are an error (EIO), never zeros.");
    (void)fputs(".PP\n", out);
    print_man_text(
        out, "Every request that reaches the program is in the log before its answer. Reads "
             "that the kernel serves again from its page cache do not reach the program, unless "
             "audit_mode=exact; calls that the kernel refuses because of ro do not reach it "
             "either, unless audit_refused.");
    (void)fputs(".SH OPTIONS\n.TP\n.B \\-f\nStay in the foreground.\n.PP\nOptions of \\-o:\n", out);
    options_each(print_option, &sink);
    (void)fputs(".PP\n", out);
    print_man_text(
        out,
        "Generic options of mount(8) and fstab (noauto, nofail, x-...) are accepted; rw, exec, "
        "suid and dev change nothing: a mount is always ro,nosuid,nodev,noexec (with "
        "audit_refused: "
        "rw for the kernel, and refused by the program).");
    man_the_log(out);
    man_section(out, "EXIT STATUS", exit_codes);
    man_section(out, "SEE ALSO", "vdiskctl(1), mount(8), fusermount3(1)");
}

static void man_verb(FILE *out, const char *usage, const char *text)
{
    (void)fputs(".TP\n.B ", out);
    print_man_text(out, usage);
    print_man_text(out, text);
}

static void man_audit_verbs(FILE *out)
{
    man_verb(
        out, "audit verify [--json] [--no-wait] [--key KEY|FILE] [--anchor FILE] LOG",
        "Checks a log (a session directory or a segment file) and its signed checkpoints: INTACT "
        "closed, INTACT open (in use, a crash, a recovery), TORN TAIL, or TAMPERED with the frame "
        "concerned. --key: the first key, as vdiskfs shows it when it mounts, or the "
        "laboratory's key (NAME+ID+BASE64, or a file that begins with it); only with it can "
        "be seen that a log was written anew as a whole. --anchor: checkpoints that were "
        "copied elsewhere in time; only with them can be seen that the end of a log that was not "
        "closed was cut off. A log whose mount is gone but which is still being closed is waited "
        "for, up to 10 seconds; not so with --no-wait.");
    man_verb(
        out,
        "audit show [-f] [--json] [--op OP,...] [--path PREFIX] [--match PATTERN] [--pid PID] "
        "[--comm PATTERN] [--exe PATTERN] [--since TIME] [--until TIME] [--errors] LOG",
        "Prints the records of a log, one per line: all, or those that fit every filter given. The "
        "path of a record that has only an object's number is known from earlier records. In a "
        "PATTERN * stands for any characters (also /), ? for one, \\ before a character for that. "
        "TIME is ISO 8601 with its zone (2024-05-01T12:30:00Z), or relative (-1h30m, now). "
        "--errors: "
        "what failed. -f goes on with the log of a running mount until it is closed: a record "
        "appears when it is sealed, 100 ms after the access at the latest. What is shown was "
        "verified; of a log that was tampered with the intact beginning is shown, and the exit "
        "status is 7.");
    man_verb(
        out,
        "audit export --format=timesketch|csv|case [-o FILE] [--force] [filters of show] LOG...",
        "Writes the records of logs for other programs: JSON lines for Timesketch, CSV (RFC 4180, "
        "with "
        "an apostrophe in front of what a spreadsheet would take for a formula), or CASE, JSON-LD "
        "that "
        "describes each mount as one investigative action with its evidence files, tool and log. A "
        "LOG "
        "may also be a directory of sessions; sessions follow each other, each in its own order. "
        "Every "
        "line has session, sequence number and frame, and the verdict on its log; a log that does "
        "not "
        "verify gets a line that says so in front of its intact records, and the exit status is 7. "
        "FILE "
        "appears when it is complete; an existing one is replaced with --force only. It cannot lie "
        "in "
        "an evidence directory, and below one with --force only. Formats: "
        "docs/formats/audit-export.md.");
    man_verb(
        out, "audit recover SESSION... | audit recover --all [DIR]",
        "Closes the log of a session that a crash or a full disk left open. What is there is "
        "verified and never changed: a segment is appended, signed by a key of its own, that says "
        "what was found and holds the records that were not sealed yet (ring.wal), then a close "
        "record. Stopped anywhere it can be repeated. A log that is in use or TAMPERED is left as "
        "it is. Afterwards verify answers INTACT open (closed after a recovery). --all: every "
        "session of DIR (the default directory of logs) that waits for it.");
    man_verb(
        out,
        "audit prove --frame N|--seq N [--key KEY] [--anchor FILE] [-o OUT] SESSION | "
        "audit prove --anchor FILE [-o OUT] SESSION | "
        "audit prove --check PROOF [--frame-file FILE] [--key KEY] [--anchor FILE] [--record]",
        "Proves to somebody who has nothing else of the log that one frame (number N, or the one "
        "with record number N) lies under a signed checkpoint: OUT.tlog-proof (C2SP tlog-proof, "
        "RFC "
        "6962) and OUT.frame; or, with --anchor alone, that the log continues what a checkpoint "
        "kept elsewhere covers: OUT.consistency. --check checks either: the checkpoint must be "
        "signed by the key, or be (consistency: begin with) one of the anchors; --record prints "
        "the records of the frame that was proved. Exit status 7: not proved.");
}

void help_man_vdiskctl(FILE *out)
{
    struct sink sink = {out, OPTION_OPEN, true};

    man_head(out, "VDISKCTL", "vdiskctl - look at virtual disks and audit logs without a mount");
    (void)fputs(".SH SYNOPSIS\n.B vdiskctl\nVERB [ARGUMENTS]\n.SH VERBS\n", out);
    man_verb(
        out, "info [--json] [-o OPTIONS] IMAGE",
        "Shows what was opened and found: the chain as a tree, what each file gives to the disk, "
        "the snapshots of the virtual machine, the checks of the chain, partitions, file systems, "
        "warnings.");
    man_verb(out, "hash [--json] [--inputs-only|--disk-only] [-o OPTIONS] IMAGE",
             "SHA-256 of every input file of the chain and of the reconstructed disk, in the form "
             "of sha256sum(1); progress on a terminal.");
    man_verb(
        out, "check [--json] [--read] [-o OPTIONS] IMAGE",
        "Checks the structures of every file of the chain: table entries that pass the end of "
        "their file, bytes that two structures claim or none, redundant copies that differ, "
        "links that do not fit; with --read also that every byte of the disk can be read. A "
        "chain that does not open is checked as far as it does. Exit status 0: sound, "
        "perhaps with notes; 7: errors or warnings were found; 2, or 3 when a file that belongs "
        "to it is missing: IMAGE itself does not open.");
    man_verb(
        out,
        "export --raw [--hash[=NAME,...]] [--partition pN] [--errors stop|zero] [--force] "
        "[--restart] [-o OPTIONS] IMAGE OUT",
        "Writes the reconstructed disk (of any point in time: snapshot=), or one partition, to "
        "the file OUT, with holes where there are zeros. OUT gets its name when all its bytes "
        "are on the disk; until then they are in OUT.partial. After an interruption (a kill, a "
        "crash, a full disk) the same command goes on: OUT.partial is read again and hashed, "
        "and only what is proven to be what was written is kept. Bytes that cannot be had end "
        "the export; with --errors zero they become zeros, OUT.map lists them in the form of "
        "GNU ddrescue, and the exit status is 7. --hash prints the hash of OUT (sha256, sha1, "
        "md5, sha512) in the form of sha256sum(1). An OUT that exists is replaced with --force "
        "only. OUT cannot lie in an evidence directory; below one it can with --force, and then "
        "nothing that exists is replaced.");
    man_audit_verbs(out);
    man_verb(out, "umount MOUNTPOINT",
             "Unmounts and returns when the program behind the mount has closed its log.");
    (void)fputs(".SH OPTIONS\nOptions of \\-o, for opening an image:\n", out);
    options_each(print_option, &sink);
    man_section(out, "EXIT STATUS", exit_codes);
    man_section(out, "SEE ALSO", "vdiskfs(1)");
}
