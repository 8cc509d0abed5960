/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl export: the reconstructed disk, or one partition, as a raw file.
 *
 * The supervisor opens the output (export_out.c) and gives it its name at the end; the sandboxed
 * worker reads the evidence and writes to the descriptors it was left (export_run.c).
 */
#include "cli/command.h"
#include "cli/export_out.h"
#include "cli/export_run.h"
#include "cli/image_path.h"
#include "vdiskfs/exit_codes.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const char program[] = "vdiskctl export";

static const char usage[] =
    "Usage: vdiskctl export --raw [--hash[=NAME,...]] [--partition pN]\n"
    "                       [--errors stop|zero] [--force] [--restart] [-o OPTIONS] IMAGE OUT\n"
    "Writes the reconstructed disk to the file OUT, with holes where there are zeros.\n"
    "  --raw            the form of OUT: the bytes of the disk\n"
    "  --hash[=NAME,..] prints the hash of OUT: sha256 (default), sha1, md5, sha512\n"
    "  --partition pN   this partition alone; vdiskctl info lists them\n"
    "  --errors stop    (default) ends at the first byte that cannot be had, and names it\n"
    "  --errors zero    goes on with zeros; OUT.map lists the ranges (exit code 7)\n"
    "  --force          replaces an OUT that exists; or allows OUT below an evidence directory\n"
    "  --restart        throws away what an interrupted export has left\n"
    "  -o OPTIONS       options of vdiskfs(1) for opening: snapshot=, chain=, parent_dir=, ...\n"
    "OUT appears when all its bytes are on the disk; until then they are in OUT.partial. After\n"
    "an interruption the same command goes on where OUT.partial is proven right.\n"
    "OUT cannot lie in an evidence directory; below one with --force only, and then nothing that\n"
    "exists is replaced.\n";

struct export_args {
    struct options options;
    struct export_job job;
    char *hashes; /* owned; job.hash points into it */
    bool raw, force, restart;
    const char *image, *out;
};

static int set_hashes(struct export_args *a, const char *list, struct vd_err *err)
{
    char *save = NULL, *name;
    size_t n = 0, i;

    free(a->hashes);
    a->hashes = strdup(list && list[0] ? list : "sha256");
    memset(a->job.hash, 0, sizeof(a->job.hash));
    if (!a->hashes)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (name = strtok_r(a->hashes, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        struct digest *digest = NULL;
        int rc = digest_new(name, &digest, err);

        digest_free(digest);
        if (rc)
            return vd_prefix(err, rc, "--hash");
        for (i = 0; i < n; i++)
            if (strcmp(a->job.hash[i], name) == 0)
                return vd_fail(err, VD_EUSAGE, "--hash: %s is given twice", name);
        if (n == EXPORT_MAX_HASHES)
            return vd_fail(err, VD_EUSAGE, "--hash: more than %d", EXPORT_MAX_HASHES);
        a->job.hash[n++] = name;
    }
    return 0;
}

static int set_partition(struct export_args *a, const char *text, struct vd_err *err)
{
    char *end = NULL;
    unsigned long n;

    errno = 0;
    n = text[0] == 'p' && text[1] >= '0' && text[1] <= '9' ? strtoul(text + 1, &end, 10) : 0;
    if (!end || *end || errno || n > 65535)
        return vd_fail(err, VD_EUSAGE, "--partition: \"%s\" is not p1, p2, ...", text);
    a->job.partition = (int)n;
    return 0;
}

static int set_errors(struct export_args *a, const char *text, struct vd_err *err)
{
    if (strcmp(text, "stop") != 0 && strcmp(text, "zero") != 0)
        return vd_fail(err, VD_EUSAGE, "--errors: \"%s\" is neither stop nor zero", text);
    a->job.zero_errors = strcmp(text, "zero") == 0;
    return 0;
}

/* *out_help: --help was given. */
static int parse(int argc, char **argv, struct export_args *a, bool *out_help, struct vd_err *err)
{
    static const struct option long_options[] = {{"raw", no_argument, NULL, 'r'},
                                                 {"hash", optional_argument, NULL, 'H'},
                                                 {"partition", required_argument, NULL, 'p'},
                                                 {"errors", required_argument, NULL, 'e'},
                                                 {"force", no_argument, NULL, 'f'},
                                                 {"restart", no_argument, NULL, 's'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {0}};
    int c, rc = 0;

    a->job.partition = -1;
    while (rc == 0 && (c = getopt_long(argc, argv, "o:h", long_options, NULL)) != -1) {
        *out_help |= c == 'h';
        a->raw |= c == 'r';
        a->force |= c == 'f';
        a->restart |= c == 's';
        if (c == 'H')
            rc = set_hashes(a, optarg, err);
        if (c == 'p')
            rc = set_partition(a, optarg, err);
        if (c == 'e')
            rc = set_errors(a, optarg, err);
        if (c == 'o')
            rc = options_parse(&a->options, optarg, OPTION_OPEN, err);
        if (c == '?')
            rc = vd_fail(err, VD_EUSAGE, "see vdiskctl export --help");
    }
    if (rc || *out_help)
        return rc;
    if (optind + 2 != argc)
        return vd_fail(err, VD_EUSAGE, "IMAGE and OUT are needed; see vdiskctl export --help");
    if (!a->raw)
        return vd_fail(err, VD_EUSAGE, "--raw is needed: it is the only form there is");
    a->image = argv[optind];
    a->out = argv[optind + 1];
    return 0;
}

/* Standard output in the form of sha256sum(1) and its like; the rest for people. */
static void print_result(const struct export_args *a, const struct export_result *r)
{
    size_t i;

    for (i = 0; i < EXPORT_MAX_HASHES && r->hash[i][0]; i++)
        (void)printf("%s  %s\n", r->hash[i], a->out);
    if (r->rejected)
        (void)fprintf(stderr,
                      "%s: the end of what the earlier run had written was not right and was "
                      "written again\n",
                      program);
    if (r->from)
        (void)fprintf(stderr, "%s: continued at byte %" PRIu64 "\n", program, r->from);
}

/* Nothing lies there when not even the image could be opened. */
static void print_kept(const struct export_out *out)
{
    struct stat st;

    if (fstat(out->journal_fd, &st) || st.st_size == 0)
        return;
    (void)fprintf(stderr, "%s: what is done lies in %s/%s; the same command goes on from there\n",
                  program, out->dir, out->partial);
}

static int run_export(struct export_args *a, struct export_out *out, struct export_result *result)
{
    const int keep[] = {out->partial_fd, out->journal_fd, out->map_fd};
    struct vd_err err = VD_ERR_INIT;
    int code, rc;

    a->job.partial_fd = out->partial_fd;
    a->job.journal_fd = out->journal_fd;
    a->job.map_fd = out->map_fd;
    a->job.out_name = out->name;
    a->job.result = result;
    code = command_with_source(program, a->image, &a->options, keep, out->map_fd >= 0 ? 3 : 2,
                               export_run, &a->job);
    if (!result->complete || (code != VD_EXIT_OK && code != VD_EXIT_DIFFERENCE)) {
        print_kept(out);
        return code ? code : VD_EXIT_CANNOT_OPEN;
    }
    rc = export_out_publish(out, &err);
    if (rc)
        return command_error(program, rc, &err);
    print_result(a, result);
    return code;
}

/* Opens the output after the evidence directories are known. */
static int open_out(const struct export_args *a, struct export_out *out, struct vd_err *err)
{
    struct image_path path;
    int rc = image_path_resolve(a->image, &a->options, &path, err);
    const struct export_out_options options = {
        .force = a->force,
        .restart = a->restart,
        .map = a->job.zero_errors,
        .evidence_dirs = path.dirs,
        .n_evidence_dirs = path.n_dirs,
    };

    if (rc == 0)
        rc = export_out_open(a->out, &options, out, err);
    image_path_clear(&path);
    if (rc == 0 && out->below)
        (void)fprintf(stderr, "%s: %s lies below the evidence directory %s: allowed by --force\n",
                      program, a->out, out->below);
    return rc;
}

int cmd_export(int argc, char **argv)
{
    struct vd_err err = VD_ERR_INIT;
    struct export_args a = {0};
    struct export_out out = {0};
    struct export_result *result;
    bool help = false;
    int code, rc = parse(argc, argv, &a, &help, &err);

    result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (rc == 0 && result == MAP_FAILED)
        rc = vd_fail(&err, VD_ENOMEM, "out of memory");
    if (rc == 0 && !help)
        rc = open_out(&a, &out, &err);
    if (help) {
        (void)fputs(usage, stdout);
        code = VD_EXIT_OK;
    } else {
        code = rc ? command_error(program, rc, &err) : run_export(&a, &out, result);
        export_out_clear(&out);
    }
    if (result != MAP_FAILED)
        (void)munmap(result, sizeof(*result));
    options_clear(&a.options);
    free(a.hashes);
    return code;
}
