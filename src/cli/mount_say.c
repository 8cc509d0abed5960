/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_say.h.  A line is one write(2) of at most PIPE_BUF bytes where it fits, so lines of
 * several threads and processes do not mix, and a poll before it tells whether a pipe has room. */
#include "cli/mount_say.h"

#include "base/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define WAIT_MS 1000

static bool say_stderr(bool warning, const char *line)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    char text[4400];
    int len = snprintf(text, sizeof(text), "vdiskfs: %s%s\n", warning ? "warning: " : "", line);
    size_t n = len < (int)sizeof(text) ? (size_t)len : sizeof(text) - 1;
    ssize_t done;

    if (len < 0 || poll(&fd, 1, WAIT_MS) <= 0 || !(fd.revents & POLLOUT))
        return false;
    text[n - 1] = '\n';
    do
        done = write(STDERR_FILENO, text, n);
    while (done < 0 && errno == EINTR);
    return done == (ssize_t)n;
}

/* syslog(3) does not tell that nobody is there.  What is there may still drop the line. */
static bool syslog_listens(void)
{
    static const int types[] = {SOCK_DGRAM, SOCK_STREAM};
    const struct sockaddr_un log = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    unsigned i;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        VD_AUTO(fd) int fd = socket(AF_UNIX, types[i] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd >= 0 &&
            (connect(fd, (const struct sockaddr *)&log, sizeof(log)) == 0 || errno == EAGAIN))
            return true;
    }
    return false;
}

bool mount_say(void *ctx, bool warning, const char *line)
{
    const struct mount_say *say = ctx;

    if (say->foreground)
        return say_stderr(warning, line);
    syslog(LOG_DAEMON | (warning ? LOG_WARNING : LOG_NOTICE), "%s%s", warning ? "warning: " : "",
           line);
    return syslog_listens();
}
