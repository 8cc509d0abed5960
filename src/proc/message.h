/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packets between worker and supervisor: plain structs of fixed size in host order, since both
 * ends are the same program.  What comes from the worker is hostile: it is copied, never cast, has
 * neither bool nor enum (whose invalid values are undefined behaviour) and is checked in
 * proc_request_decode before anything looks at it.  What comes from the supervisor is trusted, but
 * its sizes are checked all the same.
 */
#ifndef VD_PROC_MESSAGE_H
#define VD_PROC_MESSAGE_H

#include "proc/proc.h"

#include <stddef.h>
#include <stdint.h>

enum proc_request_kind {
    PROC_OPEN = 1, /* dir, name → proc_reply.u.id and a descriptor */
    PROC_LIST,     /* dir, index of the first name wanted; 0 reads the directory anew → names */
    PROC_WHO,      /* pid → proc_reply.u.identity and PROC_WATCH_FDS descriptors */
    PROC_MOUNT,    /* → the /dev/fuse descriptor */
    PROC_MOUNTED,  /* → an empty answer */
    PROC_RESULT    /* rc, err: the worker is done; no answer */
};

/* Longest bare file name (NAME_MAX of every file system that holds evidence) and its NUL. */
#define PROC_NAME_SIZE 256

/* Names of one LIST answer, each with its NUL. */
#define PROC_NAMES_SIZE 32768

/* struct vd_err without bool and enum. */
struct proc_wire_err {
    int32_t cls;
    int32_t host_errno;
    uint64_t offset;
    uint32_t has_offset;
    char msg[VD_ERR_MSG_MAX];
};

struct proc_request {
    uint32_t kind;
    uint32_t dir;
    uint32_t index;
    int32_t pid;
    int32_t rc;
    union {
        char name[PROC_NAME_SIZE];
        struct proc_wire_err err;
    } u;
};

/* An answer is the first `head` bytes, then as much of `u` as its kind uses. */
struct proc_reply {
    uint32_t kind;    /* of the request */
    int32_t rc;       /* 0, or a negative class: then u.err */
    uint32_t n_names; /* LIST: names in this answer */
    uint32_t more;    /* LIST: 1 = ask again with index + n_names */
    union {
        struct proc_wire_err err;
        struct evidence_id id;
        struct proc_identity identity;
        char names[PROC_NAMES_SIZE];
    } u;
};

#define PROC_REPLY_HEAD offsetof(struct proc_reply, u)

/* Bytes → checked request: size, kind, a bare NUL-terminated name, dir < n_dirs, pid > 0, a result
 * that is 0 or a class.  VD_EREFUSED: the name is not a bare file name; VD_EUSAGE: anything else.
 * Pure; any bytes are safe. */
int proc_request_decode(const void *bytes, size_t len, unsigned n_dirs, struct proc_request *out,
                        struct vd_err *err);

/* Error object to wire and back.  The way back accepts hostile values: an unknown class becomes
 * VD_EIO, the text is cut at its end and made printable. */
void proc_err_to_wire(const struct vd_err *err, int rc, struct proc_wire_err *out);
void proc_err_from_wire(const struct proc_wire_err *wire, int rc, struct vd_err *out);

/* Sends one packet, with the descriptor `fd` when it is >= 0.  `wait` false: fails with EAGAIN
 * instead of waiting for room.  Returns 0 or an errno. */
int proc_packet_send(int sock, const void *bytes, size_t len, int fd, bool wait);

/* As proc_packet_send and proc_packet_recv with up to PROC_PACKET_FDS descriptors.  recv: *n is the
 * room in `fds` and then how many came; a packet whose descriptors did not all arrive has none. */
#define PROC_PACKET_FDS 2
int proc_packet_send_fds(int sock, const void *bytes, size_t len, const int *fds, size_t n,
                         bool wait);
int proc_packet_recv_fds(int sock, void *bytes, size_t size, size_t *out_len, int *fds, size_t *n,
                         bool *out_cut_fd, bool wait);

/* Receives one packet of at most `size` bytes.  *out_len is its real length (larger than `size`
 * when it was cut, 0 at the end).  Descriptors are taken only when out_fd is not NULL (-1: none
 * came); otherwise the kernel drops what was sent along.  *out_cut_fd tells that one was sent but
 * could not be installed (no free number).  Returns 0 or an errno. */
int proc_packet_recv(int sock, void *bytes, size_t size, size_t *out_len, int *out_fd,
                     bool *out_cut_fd, bool wait);

#endif
