/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Node numbers: what the kernel calls inode numbers and nodeids.
 *
 * Kinds of identifiers that meet here:
 *
 *   point     0 = the point in time that the root of the mount shows; k + 1 = point number k of the
 *             chain, counted from the base (case_point_number), under snapshots/
 *   volume    0 = the top level of the point; 1 … n = volume i - 1 of its table
 *   view      point and volume together, as node_view() makes it
 *   kind      what the payload means (enum node_kind)
 *   address   object of a file system (MFT entry, inode number …), fs.h
 *   stream    alternate data stream: address and NTFS attribute id
 *   index     number of a synthetic file, of a gap
 *
 * 64 bits do not hold the widest of each (point 11, volume 11, address 48, stream 16).  The number
 * is therefore a prefix code: what is common is short, what is rare has less room.  Most
 * significant bit first; every line adds up to 64:
 *
 *   shown at the root   | 0 | kind 3 | 0                         | volume 14 | payload 45           |
 *   points 0 … 63       | 0 | kind 3 | 1 | 0 | point 6           | volume 11 | payload 41           |
 *   points 64 … 1087    | 0 | kind 3 | 1 | 1 | point - 64: 10    | volume 7  | payload 41           |
 *   streams, root       | 1 |          0                         | volume 14 | address 32 stream 16 |
 *   streams, points     | 1 |          1 | as above: 1 + 6 + 11 or 1 + 10 + 7 | 0 address 31 stream 12 |
 *                       | 1 |          1 | as above                           | 1 address 27 stream 16 |
 *
 *   payload of   NODE_SYNTHETIC  enum node_synthetic
 *                NODE_GAP        index of the gap (volume 0)
 *                NODE_OBJECT     address
 *                NODE_BEYOND     low bits of what does not fit: of the address, or of the number of
 *                                the volume (then the volume of the number is 0)
 *
 * What fits.  Root: 16,383 views, of which VD_MAX_PARTITIONS (1,024) are partitions and the rest is
 * for volumes built from them and for shadow copies; 2,047 and 127 at older points.  Addresses: 45
 * and 41 bits.  The widest that exist are libtsk's exFAT and FAT addresses, 16 to a sector of 512
 * bytes: 2^41 are 64 TiB, as much as the largest image (VHDX); an ISO 9660 address is the place of
 * a directory record, at most 2^43 by the format and 2^41 where media end.  NTFS has at most
 * 2^32 MFT entries, ext and HFS+ 2^32 objects.  Streams (NTFS attribute ids): every id on a
 * volume of up to 2^32 or 2^27 entries, ids below 4,096 of up to 2^31.
 *
 * What does not fit is still listed, with a NODE_BEYOND number, and every use of it fails with
 * VD_ELIMIT: nothing is hidden and nothing is aliased to another object.  Kinds 3 to 6 are free.
 *
 * The root is point 0, volume 0, NODE_SYNTHETIC, payload 1 = 1, which is what FUSE asks for.  0 is
 * no node.  Points are counted from the base, so a number under snapshots/ stays when snapshots
 * are added and whichever point the root shows.
 *
 * Why st_ino is this number and not the address: all partitions and points of one mount have the
 * same st_dev.  Programs that look for hard links (cp -a, tar, du, rsync) compare st_dev and
 * st_ino, and two partitions nearly always have different files with the same MFT or inode number:
 * such programs would merge them.  The pure address is in the attribute user.vdiskfs.address.
 */
#ifndef VD_TREE_NODE_H
#define VD_TREE_NODE_H

#include <stdbool.h>
#include <stdint.h>

/* Bounds; node.c asserts that they follow from the widths above. */
#define NODE_POINTS          1088u /* points 0 … 1087 have numbers */
#define NODE_POINTS_NEAR     64u
#define NODE_VOLUME_MAX      16383u /* of what the root shows */
#define NODE_VOLUME_MAX_NEAR 2047u
#define NODE_VOLUME_MAX_FAR  127u
#define NODE_ADDR_MAX        ((UINT64_C(1) << 45) - 1)
#define NODE_ADDR_MAX_POINT  ((UINT64_C(1) << 41) - 1)

/* A view: bits 16 and up are the point, the 16 below the volume.  A view of the root's point is the
 * number of its volume. */
static inline unsigned node_view(unsigned point, unsigned volume)
{
    return point << 16 | volume;
}

static inline unsigned node_view_point(unsigned view)
{
    return view >> 16;
}

static inline unsigned node_view_volume(unsigned view)
{
    return view & 0xffff;
}

enum node_kind {
    NODE_SYNTHETIC = 0,
    NODE_GAP = 1,
    NODE_OBJECT = 2,
    NODE_BEYOND = 7,
    NODE_STREAM = 8 /* has a prefix of its own */
};

/* Payloads of NODE_SYNTHETIC.  Numbers are stable: they are part of every inode number. */
enum node_synthetic {
    NODE_DIR = 1,       /* volume 0: the root, or snapshots/NN_…; others: pN/ */
    NODE_IMAGE = 2,     /* disk.img, volume.img */
    NODE_INFO_TEXT = 3, /* info.txt */
    NODE_INFO_JSON = 4, /* info.json; volume 0 only */
    NODE_GAPS = 5,      /* gaps/; volume 0 only */
    NODE_SNAPSHOTS = 6, /* snapshots/; view 0 only */
    NODE_BY_NAME = 7,   /* snapshots/by-name/; view 0 only */
    NODE_NAME_LINK = 8  /* snapshots/by-name/NAME; volume 0 of an older point */
};

/* A node number taken apart. */
struct node {
    unsigned view;
    enum node_kind kind;
    uint64_t payload; /* of NODE_SYNTHETIC, NODE_GAP; 0 else */
    uint64_t addr;    /* of NODE_OBJECT, NODE_STREAM; low bits of NODE_BEYOND */
    uint16_t stream;  /* of NODE_STREAM; 0 else */
};

/* The numbers.  The point of a view is at most NODE_POINTS.  Pure; any thread.  A volume that does
 * not fit gives NODE_BEYOND. */
uint64_t node_synthetic(unsigned view, enum node_synthetic what);
/* Volume 0 of a point. */
uint64_t node_gap(unsigned view, uint64_t index);

/* The number of an object (stream 0) or of one of its streams; NODE_BEYOND when it does not fit. */
uint64_t node_object(unsigned view, uint64_t addr, uint16_t stream);

/* Takes a number apart.  False when no node can have it: unknown kind, synthetic payload out of
 * range, stream 0.  node_encode(node_decode(x)) == x for all others. */
bool node_decode(uint64_t number, struct node *out);
uint64_t node_encode(const struct node *node);

#endif
