/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioctl(2).  No ioctl is served and none is ever passed on.  The kernel lets most of them through
 * to the program even on a read-only superblock, so the known modifying ones are recorded as
 * REFUSED.
 *
 * Errno: ENOTTY, "this file does not have that call", is what every tool expects of a file system
 * that never had it, and what the measured table of a write blocker has for the calls that are
 * marked so below.  Modifying calls of other file systems' own tools answer EROFS.
 *
 * Numbers are those of the kernel's headers, as (type, number); size and direction are left out, so
 * that the 32-bit forms are caught as well.
 */
#include "fuse/server.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>

static const struct modifier {
    uint8_t type, number;
    int error;
    const char *name;
} modifiers[] = {
    /* include/uapi/linux/fs.h, fsverity.h: measured */
    {'f', 2, ENOTTY, "FS_IOC_SETFLAGS"},
    {'X', 32, ENOTTY, "FS_IOC_FSSETXATTR"},
    {'v', 2, ENOTTY, "FS_IOC_SETVERSION"},
    {'X', 121, ENOTTY, "FITRIM"},
    {0x94, 50, ENOTTY, "FS_IOC_SETFSLABEL"},
    {'f', 133, ENOTTY, "FS_IOC_ENABLE_VERITY"},
    {0x12, 119, ENOTTY, "BLKDISCARD"},
    {0x12, 127, ENOTTY, "BLKZEROOUT"},
    {0x12, 93, ENOTTY, "BLKROSET"},
    {0x12, 125, ENOTTY, "BLKSECDISCARD"},
    /* normally handled above the file system */
    {'X', 119, EROFS, "FIFREEZE"},
    {'X', 120, EROFS, "FITHAW"},
    {0x94, 9, EROFS, "FICLONE"},
    {0x94, 13, EROFS, "FICLONERANGE"},
    {0x94, 54, EROFS, "FIDEDUPERANGE"},
    {'X', 40, EROFS, "FS_IOC_RESVSP"},
    {'X', 42, EROFS, "FS_IOC_RESVSP64"},
    {'X', 41, EROFS, "FS_IOC_UNRESVSP"},
    {'X', 43, EROFS, "FS_IOC_UNRESVSP64"},
    {'X', 57, EROFS, "FS_IOC_ZERO_RANGE"},
    /* include/uapi/linux/fscrypt.h */
    {'f', 19, EROFS, "FS_IOC_SET_ENCRYPTION_POLICY"},
    {'f', 23, EROFS, "FS_IOC_ADD_ENCRYPTION_KEY"},
    {'f', 24, EROFS, "FS_IOC_REMOVE_ENCRYPTION_KEY"},
    {'f', 25, EROFS, "FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS"},
    /* include/uapi/linux/ext4.h */
    {'f', 4, EROFS, "EXT4_IOC_SETVERSION"},
    {'f', 6, EROFS, "EXT4_IOC_SETRSVSZ"},
    {'f', 7, EROFS, "EXT4_IOC_GROUP_EXTEND"},
    {'f', 8, EROFS, "EXT4_IOC_GROUP_ADD"},
    {'f', 9, EROFS, "EXT4_IOC_MIGRATE"},
    {'f', 12, EROFS, "EXT4_IOC_ALLOC_DA_BLKS"},
    {'f', 15, EROFS, "EXT4_IOC_MOVE_EXT"},
    {'f', 16, EROFS, "EXT4_IOC_RESIZE_FS"},
    {'f', 17, EROFS, "EXT4_IOC_SWAP_BOOT"},
    {'f', 43, EROFS, "EXT4_IOC_CHECKPOINT"},
    {'f', 44, EROFS, "EXT4_IOC_SETFSUUID"},
    /* fs/xfs/libxfs/xfs_fs.h; EXT4_IOC_SHUTDOWN is the same number as XFS_IOC_GOINGDOWN */
    {'X', 10, EROFS, "XFS_IOC_ALLOCSP"},
    {'X', 11, EROFS, "XFS_IOC_FREESP"},
    {'X', 36, EROFS, "XFS_IOC_ALLOCSP64"},
    {'X', 37, EROFS, "XFS_IOC_FREESP64"},
    {'X', 58, EROFS, "XFS_IOC_FREE_EOFBLOCKS"},
    {'X', 109, EROFS, "XFS_IOC_SWAPEXT"},
    {'X', 110, EROFS, "XFS_IOC_FSGROWFSDATA"},
    {'X', 111, EROFS, "XFS_IOC_FSGROWFSLOG"},
    {'X', 112, EROFS, "XFS_IOC_FSGROWFSRT"},
    {'X', 125, EROFS, "XFS_IOC_GOINGDOWN"},
    /* include/uapi/linux/btrfs.h */
    {0x94, 1, EROFS, "BTRFS_IOC_SNAP_CREATE"},
    {0x94, 2, EROFS, "BTRFS_IOC_DEFRAG"},
    {0x94, 3, EROFS, "BTRFS_IOC_RESIZE"},
    {0x94, 10, EROFS, "BTRFS_IOC_ADD_DEV"},
    {0x94, 11, EROFS, "BTRFS_IOC_RM_DEV"},
    {0x94, 12, EROFS, "BTRFS_IOC_BALANCE"},
    {0x94, 14, EROFS, "BTRFS_IOC_SUBVOL_CREATE"},
    {0x94, 15, EROFS, "BTRFS_IOC_SNAP_DESTROY"},
    {0x94, 16, EROFS, "BTRFS_IOC_DEFRAG_RANGE"},
    {0x94, 19, EROFS, "BTRFS_IOC_DEFAULT_SUBVOL"},
    {0x94, 23, EROFS, "BTRFS_IOC_SNAP_CREATE_V2"},
    {0x94, 24, EROFS, "BTRFS_IOC_SUBVOL_CREATE_V2"},
    {0x94, 26, EROFS, "BTRFS_IOC_SUBVOL_SETFLAGS"},
    {0x94, 37, EROFS, "BTRFS_IOC_SET_RECEIVED_SUBVOL"},
    {0x94, 57, EROFS, "BTRFS_IOC_SET_FEATURES"},
    /* include/uapi/linux/msdos_fs.h */
    {'r', 17, EROFS, "FAT_IOCTL_SET_ATTRIBUTES"},
};

static const struct modifier *find_modifier(unsigned cmd)
{
    size_t i;

    for (i = 0; i < sizeof(modifiers) / sizeof(modifiers[0]); i++)
        if (modifiers[i].type == _IOC_TYPE(cmd) && modifiers[i].number == _IOC_NR(cmd))
            return &modifiers[i];
    return NULL;
}

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
              unsigned flags, const void *in, size_t in_size, size_t out_size)
{
    struct log_event event = {.op = AUDIT_IOCTL, .obj = ino, .off = cmd, .error = ENOTTY};
    const struct modifier *m = find_modifier(cmd);
    char key[64];

    (void)arg;
    (void)fi;
    (void)flags;
    (void)in;
    (void)in_size;
    (void)out_size;
    if (m) {
        (void)snprintf(key, sizeof(key), "ioctl %s", m->name);
        event.op = AUDIT_REFUSED;
        event.key = key;
        event.error = m->error;
        event.with_path = true;
    }
    server_finish(req, &event);
}
