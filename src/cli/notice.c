/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines for a person.  They come from the thread that seals the log, which nobody may hold up: not a
 * terminal that was stopped, not a system log that hangs.  syslog(3) waits for its socket, so
 * the datagram is sent here, in the form that RFC 3164, section 4.1, gives and every syslogd takes.
 */
#include "cli/notice.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static void to_stderr(const char *line)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    char text[1200];
    int len = snprintf(text, sizeof(text), "vdiskfs: warning: %s\n", line);

    if (len <= 0 || (size_t)len >= sizeof(text) || poll(&fd, 1, 0) != 1 || !(fd.revents & POLLOUT))
        return;
    if (write(STDERR_FILENO, text, (size_t)len) < 0)
        return; /* nobody reads it */
}

static void to_syslog(const char *line)
{
    VD_AUTO(fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const struct sockaddr_un log = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    time_t now = time(NULL);
    char when[32] = "", text[1300];
    struct tm tm;
    int len;

    if (fd < 0)
        return;
    if (localtime_r(&now, &tm))
        (void)strftime(when, sizeof(when), "%b %e %H:%M:%S ", &tm);
    len = snprintf(text, sizeof(text), "<%d>%svdiskfs[%ld]: warning: %s", LOG_DAEMON | LOG_WARNING,
                   when, (long)getpid(), line);
    if (len > 0 && (size_t)len < sizeof(text))
        (void)sendto(fd, text, (size_t)len, MSG_NOSIGNAL, (const struct sockaddr *)&log,
                     sizeof(log));
}

void notice_print(const char *line)
{
    char shown[1024];

    (void)vd_text_printable(line, strlen(line), shown, sizeof(shown));
    to_stderr(shown);
    to_syslog(shown);
}
