/* SPDX-License-Identifier: Apache-2.0 */
#include "fakes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- audit ---- */

struct audit_ring {
    pthread_mutex_t lock;
    struct fake_record *v;
    size_t n, cap;
    uint64_t waited;
    atomic_bool broken;
    atomic_int state; /* enum audit_state while not broken */
};

struct audit_ring *fake_ring_new(void)
{
    struct audit_ring *ring = calloc(1, sizeof(*ring));

    assert_non_null(ring);
    (void)pthread_mutex_init(&ring->lock, NULL);
    return ring;
}

void fake_ring_free(struct audit_ring *ring)
{
    free(ring->v);
    free(ring);
}

void fake_ring_break(struct audit_ring *ring, bool broken)
{
    atomic_store(&ring->broken, broken);
}

void fake_ring_set(struct audit_ring *ring, enum audit_state state)
{
    atomic_store(&ring->state, (int)state);
}

size_t fake_ring_count(struct audit_ring *ring)
{
    size_t n;

    (void)pthread_mutex_lock(&ring->lock);
    n = ring->n;
    (void)pthread_mutex_unlock(&ring->lock);
    return n;
}

struct fake_record fake_ring_at(struct audit_ring *ring, size_t i)
{
    struct fake_record r;

    (void)pthread_mutex_lock(&ring->lock);
    assert_true(i < ring->n);
    r = ring->v[i];
    (void)pthread_mutex_unlock(&ring->lock);
    return r;
}

size_t fake_ring_count_of(struct audit_ring *ring, enum audit_op op, uint64_t obj)
{
    size_t i, n = 0;

    (void)pthread_mutex_lock(&ring->lock);
    for (i = 0; i < ring->n; i++)
        n += ring->v[i].op == op && (!obj || ring->v[i].obj == obj);
    (void)pthread_mutex_unlock(&ring->lock);
    return n;
}

bool fake_ring_last_of(struct audit_ring *ring, enum audit_op op, struct fake_record *out)
{
    bool found = false;
    size_t i;

    (void)pthread_mutex_lock(&ring->lock);
    for (i = ring->n; i > 0 && !found; i--) {
        found = ring->v[i - 1].op == op;
        if (found)
            *out = ring->v[i - 1];
    }
    (void)pthread_mutex_unlock(&ring->lock);
    return found;
}

uint64_t fake_ring_waited(struct audit_ring *ring)
{
    uint64_t waited;

    (void)pthread_mutex_lock(&ring->lock);
    waited = ring->waited;
    (void)pthread_mutex_unlock(&ring->lock);
    return waited;
}

static void take(char *dst, size_t size, const struct audit_field *f)
{
    size_t n = f->len < size - 1 ? f->len : size - 1;

    memcpy(dst, f->bytes, n);
    dst[n] = '\0';
}

static uint32_t take_u32(const struct audit_field *f)
{
    const uint8_t *p = f->bytes;

    assert_int_equal(f->len, 4);
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void take_fields(struct fake_record *r, const struct audit_event *e)
{
    size_t i;

    for (i = 0; i < e->n_fields; i++) {
        const struct audit_field *f = &e->fields[i];

        if (f->tag == AUDIT_T_PATH)
            take(r->path, sizeof(r->path), f);
        else if (f->tag == AUDIT_T_NAME)
            take(r->name, sizeof(r->name), f);
        else if (f->tag == AUDIT_T_KEY)
            take(r->key, sizeof(r->key), f);
        else if (f->tag == AUDIT_T_TEXT)
            take(r->text, sizeof(r->text), f);
        else if (f->tag == AUDIT_T_PID)
            r->pid = take_u32(f);
        else if (f->tag == AUDIT_T_UID)
            r->uid = take_u32(f);
    }
}

uint64_t audit_log(struct audit_ring *ring, const struct audit_event *e)
{
    struct fake_record *r;
    uint64_t seq;

    (void)pthread_mutex_lock(&ring->lock);
    if (ring->n == ring->cap) {
        ring->cap = ring->cap ? ring->cap * 2 : 256;
        ring->v = realloc(ring->v, ring->cap * sizeof(*ring->v));
        if (!ring->v)
            abort();
    }
    r = &ring->v[ring->n];
    memset(r, 0, sizeof(*r));
    seq = ++ring->n;
    r->seq = seq;
    r->op = e->op;
    r->obj = e->obj;
    r->off = e->off;
    r->len = e->len;
    r->proc = e->proc;
    r->result = e->result;
    r->flags = e->flags;
    take_fields(r, e);
    (void)pthread_mutex_unlock(&ring->lock);
    return seq;
}

int audit_wait(struct audit_ring *ring, uint64_t seq, struct vd_err *err)
{
    if (audit_failed(ring))
        return vd_fail(err, VD_EAUDIT, "broken");
    (void)pthread_mutex_lock(&ring->lock);
    if (seq > ring->waited)
        ring->waited = seq;
    (void)pthread_mutex_unlock(&ring->lock);
    return 0;
}

bool audit_failed(const struct audit_ring *ring)
{
    return atomic_load(&ring->broken);
}

enum audit_state audit_state(const struct audit_ring *ring)
{
    return audit_failed(ring) ? AUDIT_FAILED : (enum audit_state)atomic_load(&ring->state);
}

void audit_wait_room(struct audit_ring *ring, unsigned timeout_ms)
{
    const struct timespec t = {0, 1000000L * (timeout_ms < 10 ? timeout_ms : 10)};

    (void)ring;
    (void)nanosleep(&t, NULL);
}

/* ---- channel ---- */

static struct proc_channel *_Atomic last_channel; /* proc_mark_look is not told which */

int proc_channel_identify(struct proc_channel *channel, pid_t pid, struct proc_identity *out,
                          int out_fds[PROC_WATCH_FDS], struct vd_err *err)
{
    int i;

    last_channel = channel;
    atomic_fetch_add(&channel->asked, 1);
    for (i = 0; i < PROC_WATCH_FDS; i++)
        out_fds[i] = -1;
    if (atomic_load(&channel->gone))
        return vd_fail(err, VD_ENOENT, "gone");
    memset(out, 0, sizeof(*out));
    if (atomic_load(&channel->tgid))
        pid = (pid_t)atomic_load(&channel->tgid);
    out->pid = (uint32_t)pid;
    out->start_time = atomic_load(&channel->run);
    (void)snprintf(out->comm, sizeof(out->comm), "comm%d", (int)pid);
    (void)snprintf(out->exe, sizeof(out->exe), "/usr/bin/exe%d", (int)pid);
    for (i = 0; i < PROC_WATCH_FDS && !atomic_load(&channel->no_room); i++) {
        out_fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(out_fds[i] >= 0);
    }
    return 0;
}

enum proc_look proc_mark_look(const int fds[PROC_WATCH_FDS], const struct proc_mark *mark,
                              bool closely)
{
    (void)mark;
    assert_true(fcntl(fds[PROC_WATCH_COMM], F_GETFD) >= 0);
    assert_true(fcntl(fds[PROC_WATCH_STATM], F_GETFD) >= 0);
    atomic_fetch_add(&last_channel->looked, 1);
    atomic_fetch_add(&last_channel->close, closely);
    return (enum proc_look)atomic_load(&last_channel->look);
}

int proc_channel_mount(struct proc_channel *channel, int *out_fuse_fd, struct vd_err *err)
{
    if (channel->fuse_fd < 0)
        return vd_fail(err, VD_EMOUNT, "no mount");
    *out_fuse_fd = channel->fuse_fd;
    channel->fuse_fd = -1;
    return 0;
}

int proc_channel_mounted(struct proc_channel *channel, struct vd_err *err)
{
    (void)err;
    atomic_store(&channel->mounted, true);
    return 0;
}

int proc_channel_stop_fd(const struct proc_channel *channel)
{
    return channel->stop_fd;
}

/* ---- tree ---- */

atomic_uint fake_tree_depth;

static const struct fake_node {
    uint64_t node, parent;
    const char *name;
    mode_t type;
    uint64_t size;
} nodes[] = {
    {NODE_DISK, NODE_ROOT, "disk.img", S_IFREG, DISK_BYTES},
    {NODE_BAD_IMG, NODE_ROOT, "bad.img", S_IFREG, DISK_BYTES},
    {NODE_ZERO, NODE_ROOT, "zero", S_IFREG, 0},
    {NODE_P1, NODE_ROOT, "p1", S_IFDIR, 0},
    {NODE_FS, NODE_P1, "fs", S_IFDIR, 0},
    {NODE_FILE, NODE_FS, "file", S_IFREG, FILE_BYTES},
    {NODE_LINK, NODE_FS, "link", S_IFLNK, 4},
    {NODE_DIR, NODE_FS, "dir", S_IFDIR, 0},
    {NODE_SUB, NODE_DIR, "sub", S_IFDIR, 0},
    {NODE_DEEP, NODE_SUB, "deep", S_IFLNK, 7},
    {NODE_HARD, NODE_FS, "hard1", S_IFREG, 100},
    {NODE_HARD, NODE_DIR, "hard2", S_IFREG, 100},
    {NODE_BROKEN, NODE_FS, "broken", S_IFREG, 0},
    {NODE_MANY, NODE_ROOT, "many", S_IFDIR, 0},
    {NODE_BAD_DIR, NODE_ROOT, "bad", S_IFDIR, 0},
};
#define N_NODES (sizeof(nodes) / sizeof(nodes[0]))

static const struct fake_node *node_at(uint64_t node)
{
    static const struct fake_node root = {NODE_ROOT, NODE_ROOT, "", S_IFDIR, 0};
    static const struct fake_node one_of_many = {0, NODE_MANY, "", S_IFREG, 10};
    size_t i;

    if (node == NODE_ROOT)
        return &root;
    for (i = 0; i < N_NODES; i++)
        if (nodes[i].node == node)
            return &nodes[i];
    if (node >= NODE_FIRST_OF_MANY && node < NODE_FIRST_OF_MANY + MANY)
        return &one_of_many;
    return NULL;
}

uint8_t fake_tree_byte(uint64_t node, uint64_t off)
{
    return (uint8_t)(off * 7 + (off >> 9) * 13 + (off >> 20) + node);
}

int tree_getattr(struct tree *tree, uint64_t node, struct stat *out, struct vd_err *err)
{
    const struct fake_node *n = node_at(node);

    (void)tree;
    if (!n)
        return vd_fail(err, VD_ENOENT, "no node %llu", (unsigned long long)node);
    if (node == NODE_BROKEN)
        return vd_fail(err, VD_ECORRUPT, "attributes are damaged");
    memset(out, 0, sizeof(*out));
    out->st_ino = node;
    out->st_mode = n->type | (S_ISDIR(n->type) ? 0555 : 0444);
    out->st_nlink = 1;
    out->st_size = (off_t)n->size;
    out->st_blocks = (blkcnt_t)((n->size + 511) / 512);
    out->st_blksize = 4096;
    out->st_mtim.tv_sec = -86400; /* before 1970 */
    out->st_mtim.tv_nsec = 5;
    return 0;
}

int tree_lookup(struct tree *tree, uint64_t parent, const char *name, uint64_t *out_node,
                struct vd_err *err)
{
    unsigned long number;
    size_t i;

    (void)tree;
    for (i = 0; i < N_NODES; i++) {
        if (nodes[i].parent == parent && strcmp(nodes[i].name, name) == 0) {
            *out_node = nodes[i].node;
            return 0;
        }
    }
    if (parent == NODE_MANY && strncmp(name, "entry-", 6) == 0) {
        number = strtoul(name + 6, NULL, 10);
        if (number < MANY) {
            *out_node = NODE_FIRST_OF_MANY + number;
            return 0;
        }
    }
    return vd_fail(err, VD_ENOENT, "no %s", name);
}

static int readdir_many(uint64_t cookie, tree_entry_fn *fn, void *ctx)
{
    char name[32];

    for (; cookie < MANY; cookie++) {
        (void)snprintf(name, sizeof(name), "entry-%u", (unsigned)cookie);
        if (fn(ctx, name, NODE_FIRST_OF_MANY + cookie, S_IFREG, cookie + 1))
            break;
    }
    return 0;
}

int tree_readdir(struct tree *tree, uint64_t node, uint64_t cookie, tree_entry_fn *fn, void *ctx,
                 struct vd_err *err)
{
    uint64_t i;

    (void)tree;
    if (node == NODE_MANY)
        return readdir_many(cookie, fn, ctx);
    if (node == NODE_BAD_DIR) {
        for (; cookie < 3; cookie++)
            if (fn(ctx,
                   cookie == 0   ? "a"
                   : cookie == 1 ? "b"
                                 : "c",
                   NODE_FIRST_OF_MANY + cookie, S_IFREG, cookie + 1))
                return 0;
        return vd_fail(err, VD_EIO, "block 7 of the directory cannot be read");
    }
    for (i = cookie; i < N_NODES; i++)
        if (nodes[i].parent == node && fn(ctx, nodes[i].name, nodes[i].node, nodes[i].type, i + 1))
            break;
    return 0;
}

uint64_t tree_parent(struct tree *tree, uint64_t node)
{
    const struct fake_node *n = node_at(node);

    (void)tree;
    return n && S_ISDIR(n->type) ? n->parent : 0;
}

int tree_open(struct tree *tree, uint64_t node, bool *out_uncached, struct vd_err *err)
{
    (void)tree;
    if (!node_at(node))
        return vd_fail(err, VD_ENOENT, "no node");
    *out_uncached = node == NODE_DISK;
    return 0;
}

int tree_read(struct tree *tree, uint64_t node, uint64_t off, void *buf, size_t len,
              size_t *out_len, struct vd_err *err)
{
    const struct fake_node *n = node_at(node);
    uint8_t *p = buf;
    size_t i;

    (void)tree;
    if (!n)
        return vd_fail(err, VD_ENOENT, "no node");
    if (off >= n->size)
        len = 0;
    else if (len > n->size - off)
        len = n->size - off;
    if (node == NODE_BAD_IMG && len && off < BAD_PAGE_OFF + 4096 && off + len > BAD_PAGE_OFF)
        return vd_at(err, vd_fail(err, VD_EIO, "base.vmdk: grain 32: cannot be read"),
                     BAD_PAGE_OFF);
    for (i = 0; i < len; i++)
        p[i] = fake_tree_byte(node, off + i);
    *out_len = len;
    return 0;
}

int tree_seek(struct tree *tree, uint64_t node, uint64_t off, bool want_data, uint64_t *out_off,
              struct vd_err *err)
{
    const struct fake_node *n = node_at(node);

    (void)tree;
    if (!n || off >= n->size)
        return vd_fail(err, VD_ENOENT, "past the end");
    *out_off = want_data ? off : n->size;
    return 0;
}

int tree_readlink(struct tree *tree, uint64_t node, unsigned depth, char **out, struct vd_err *err)
{
    (void)tree;
    atomic_store(&fake_tree_depth, depth);
    if (depth == TREE_DEPTH_UNKNOWN)
        return vd_fail(err, VD_EREFUSED, "the place of the link is not known");
    *out = strdup(node == NODE_LINK ? "file" : "../file");
    return *out ? 0 : vd_fail(err, VD_ENOMEM, "no memory");
}

int tree_listxattr(struct tree *tree, uint64_t node, char **out, size_t *out_len,
                   struct vd_err *err)
{
    static const char names[] = "user.vdiskfs.address";

    (void)tree;
    (void)node;
    *out = malloc(sizeof(names));
    if (!*out)
        return vd_fail(err, VD_ENOMEM, "no memory");
    memcpy(*out, names, sizeof(names));
    *out_len = sizeof(names);
    return 0;
}

int tree_getxattr(struct tree *tree, uint64_t node, const char *name, char **out, size_t *out_len,
                  struct vd_err *err)
{
    (void)tree;
    (void)node;
    if (strncmp(name, "user.", 5) != 0)
        fail_msg("the tree was asked for %s", name);
    if (strcmp(name, "user.vdiskfs.address") != 0)
        return vd_fail(err, VD_ENOENT, "no attribute");
    *out = strdup("42");
    *out_len = 2;
    return *out ? 0 : vd_fail(err, VD_ENOMEM, "no memory");
}

void tree_statfs(struct tree *tree, struct statvfs *out)
{
    (void)tree;
    out->f_bsize = out->f_frsize = 4096;
    out->f_blocks = 1024;
    out->f_namemax = 1024;
}
