/* SPDX-License-Identifier: Apache-2.0 */
/* What the subcommands share: the error line, and running in a worker with a case opened. */
#include "cli/command.h"

#include "cli/image_path.h"
#include "fs/fs.h"
#include "proc/proc.h"
#include "vdiskfs/exit_codes.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

int command_error(const char *program, int rc, const struct vd_err *err)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s: %s\n", program, err->msg[0] ? err->msg : vd_class_name(rc));
    return vd_class_exit(rc);
}

/* A long text is written before the flush: its failure is in ferror() only. */
bool command_output_arrived(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR); /* a pipe without reader */
}

int command_end(const char *program, int code)
{
    if ((code != VD_EXIT_OK && code != VD_EXIT_DIFFERENCE) || command_output_arrived())
        return code;
    (void)fprintf(stderr, "%s: cannot write the output\n", program);
    return VD_EXIT_CANNOT_OPEN;
}

struct source_job {
    const struct options *options;
    const struct image_path *path;
    command_source_fn *fn;
    void *arg;
};

static int source_worker(struct proc_channel *channel, void *arg, struct vd_err *err)
{
    const struct source_job *job = arg;
    struct blk_source source;
    const struct command_input input = {
        .source = &source,
        .name = job->path->name,
        .chain = {.members = (const char *const *)job->options->chain,
                  .n_members = job->options->n_chain,
                  .unverified = job->options->unverified_chain,
                  .snapshot = job->options->snapshot},
        .context = {.option = (const char *const *)job->options->given,
                    .sandbox = proc_channel_sandbox(channel)},
        .stop_fd = proc_channel_stop_fd(channel),
    };
    int rc;

    fs_init(); /* while there is one thread */
    proc_channel_source(channel, &source);
    rc = job->fn(&input, job->arg, err);
    if (!command_output_arrived() && (rc == 0 || rc == -VD_EDIFF))
        rc = vd_fail(err, VD_EIO, "cannot write the output");
    return rc;
}

int command_with_source(const char *program, const char *image, const struct options *options,
                        const int *keep_fd, size_t n_keep_fd, command_source_fn *fn, void *arg)
{
    struct vd_err err = VD_ERR_INIT;
    struct image_path path;
    struct source_job job = {options, &path, fn, arg};
    bool died = false;
    int rc = image_path_resolve(image, options, &path, &err);

    if (rc == 0) {
        const struct proc_config config = {
            .dirs = path.dirs,
            .n_dirs = path.n_dirs,
            .block_device = path.is_block ? path.name : NULL,
            .sandbox = options->sandbox,
            .keep_fd = keep_fd,
            .n_keep_fd = n_keep_fd,
            .worker = source_worker,
            .arg = &job,
        };

        rc = proc_run(&config, &died, &err);
    }
    image_path_clear(&path);
    return rc ? command_error(program, rc, &err) : 0;
}

struct case_job {
    bool disk_only;
    command_case_fn *fn;
    void *arg;
};

static int with_case(const struct command_input *input, void *arg, struct vd_err *err)
{
    const struct case_job *job = arg;
    const struct case_options options = {.chain = input->chain, .disk_only = job->disk_only};
    struct vd_case *c = NULL;
    int rc = case_open(input->source, input->name, &options, &c, err);

    if (rc == 0)
        rc = job->fn(c, &input->context, job->arg, err);
    case_free(c);
    return rc;
}

int command_with_case(const char *program, const char *image, const struct options *options,
                      bool disk_only, command_case_fn *fn, void *arg)
{
    struct case_job job = {disk_only, fn, arg};

    return command_with_source(program, image, options, NULL, 0, with_case, &job);
}
