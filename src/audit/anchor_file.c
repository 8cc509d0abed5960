/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints in a second directory: DIR/SESSION.notes, one signed note after the other.
 *
 * The file is created exclusively and only ever appended to.  A disk that is full makes a note wait
 * with the part of it that is missing; any other failure (a stick that was pulled out) loses the
 * file, and the next note begins a new one, SESSION.1.notes, SESSION.2.notes …, which the same
 * path finds again when the disk is back.  Threads: the sink's.
 */
#include "audit/anchor_sink.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILES 1000

static int open_in(const struct anchor_file *file, int flags)
{
    int dir = open(file->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, why;

    if (dir < 0)
        return -1;
    fd = openat(dir, file->name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    why = errno;
    if (fd >= 0)
        (void)fsync(dir); /* best effort: some file systems cannot */
    (void)close(dir);
    errno = why;
    return fd;
}

int anchor_file_open(struct anchor_file *file, const char *session_id, struct vd_err *err)
{
    do {
        if (file->number)
            (void)snprintf(file->name, sizeof(file->name), "%s.%u.notes", session_id, file->number);
        else
            (void)snprintf(file->name, sizeof(file->name), "%s.notes", session_id);
        file->fd = open_in(file, O_WRONLY | O_CREAT | O_EXCL | O_APPEND);
    } while (file->fd < 0 && errno == EEXIST && file->number && ++file->number < MAX_FILES);
    if (file->fd < 0)
        return vd_fail_errno(err, VD_EAUDIT, errno, "%s/%s: cannot create", file->dir, file->name);
    return 0;
}

/* Nothing more can be had from this file. */
static void lose(struct anchor_file *file)
{
    (void)close(file->fd);
    file->fd = -1;
    file->len = file->sent = 0;
    file->number++;
}

static bool fail(struct anchor_file *file, int error, char *why)
{
    char text[128];

    (void)snprintf(why, ANCHOR_WHY, "%s/%s: %s", file->dir, file->name,
                   strerror_r(error, text, sizeof(text)));
    if (error != ENOSPC && error != EDQUOT)
        lose(file);
    return false;
}

static bool send_rest(struct anchor_file *file, char *why)
{
    while (file->sent < file->len) {
        ssize_t n = write(file->fd, file->note + file->sent, file->len - file->sent);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(file, n < 0 ? errno : ENOSPC, why);
        file->sent += (size_t)n;
    }
    file->len = file->sent = 0;
    return true;
}

bool anchor_file_add(struct anchor_file *file, const char *session_id, const char *note, char *why)
{
    struct vd_err err = VD_ERR_INIT;
    size_t len = strlen(note);
    struct stat st;

    if (file->fd < 0 && anchor_file_open(file, session_id, &err)) {
        (void)vd_text_copy(why, ANCHOR_WHY, err.msg);
        return false;
    }
    if (file->sent == 0) /* the newest one takes the place of one that waits whole */
        file->len = 0;
    if (!send_rest(file, why))
        return false;
    memcpy(file->note, note, len < sizeof(file->note) ? len : sizeof(file->note));
    file->len = len < sizeof(file->note) ? len : 0;
    if (!send_rest(file, why))
        return false;
    if (fdatasync(file->fd))
        return fail(file, errno, why);
    return fstat(file->fd, &st) || st.st_nlink > 0 ||
           fail(file, ENOENT, why); /* removed by somebody */
}

void anchor_file_close(struct anchor_file *file)
{
    struct stat st;

    if (file->fd < 0)
        return;
    /* Part of a note proves nothing, and would spoil the file for a reader. */
    if (file->sent && fstat(file->fd, &st) == 0 && st.st_size >= (off_t)file->sent)
        (void)!ftruncate(file->fd, st.st_size - (off_t)file->sent);
    (void)fchmod(file->fd, 0400);
    (void)close(file->fd);
    file->fd = -1;
}
