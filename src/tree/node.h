/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Node numbers: what the kernel calls inode numbers and nodeids.
 *
 * Kinds of identifiers that meet here, and their width:
 *
 *   view      which volume of which point of the chain.  0 = the top level; 1 … n = volume i - 1 of
 *             the table at the tip.  Numbers above are free for other points (snapshots/).
 *                                                                             12 bits
 *   kind      what the payload means (enum node_kind)                          4 bits
 *   address   object of a file system (MFT entry, inode number …), fs.h       48 bits
 *   stream    alternate data stream: address and NTFS attribute id            32 + 16 bits
 *   index     number of a synthetic file, of a gap                            48 bits
 *
 * Mapping, most significant bit first:
 *
 *   | view 12 | kind 4 | payload 48                  |
 *                       NODE_SYNTHETIC  enum node_synthetic
 *                       NODE_GAP        index of the gap (view 0)
 *                       NODE_OBJECT     address
 *                       NODE_STREAM     address << 16 | stream, stream != 0
 *                       NODE_BEYOND     low 48 bits of an address that does not fit
 *
 * The root is view 0, NODE_SYNTHETIC, payload 1 = 1, which is what FUSE asks for.  0 is no node.
 *
 * Why st_ino is this number and not the address: all partitions of one mount have the same st_dev.
 * Programs that look for hard links (cp -a, tar, du, rsync) compare st_dev and st_ino, and two
 * partitions nearly always have different files with the same MFT or inode number: such programs
 * would merge them.  The pure address is in the attribute user.vdiskfs.address.
 *
 * An entry whose address does not fit (hostile: no file system has such addresses) is still listed,
 * with a NODE_BEYOND number, and every use of it fails with VD_ELIMIT: nothing is hidden and
 * nothing is aliased to another object.
 */
#ifndef VD_TREE_NODE_H
#define VD_TREE_NODE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define NODE_VIEW_BITS    12
#define NODE_KIND_BITS    4
#define NODE_PAYLOAD_BITS 48
#define NODE_STREAM_BITS  16

#define NODE_VIEW_MAX        ((1u << NODE_VIEW_BITS) - 1)
#define NODE_PAYLOAD_MAX     ((UINT64_C(1) << NODE_PAYLOAD_BITS) - 1)
#define NODE_STREAM_ADDR_MAX ((UINT64_C(1) << (NODE_PAYLOAD_BITS - NODE_STREAM_BITS)) - 1)

static_assert(NODE_VIEW_BITS + NODE_KIND_BITS + NODE_PAYLOAD_BITS == 64, "a node is 64 bits");

enum node_kind {
    NODE_SYNTHETIC = 0,
    NODE_GAP = 1,
    NODE_OBJECT = 2,
    NODE_STREAM = 3,
    NODE_BEYOND = 15
};

static_assert(NODE_BEYOND < 1 << NODE_KIND_BITS, "kinds fit their field");

/* Payloads of NODE_SYNTHETIC.  Numbers are stable: they are part of every inode number. */
enum node_synthetic {
    NODE_DIR = 1,       /* view 0: the root; others: pN/ */
    NODE_IMAGE = 2,     /* disk.img, volume.img */
    NODE_INFO_TEXT = 3, /* info.txt */
    NODE_INFO_JSON = 4, /* info.json; view 0 only */
    NODE_GAPS = 5       /* gaps/; view 0 only */
};

/* A node number taken apart. */
struct node {
    unsigned view; /* 0 … NODE_VIEW_MAX */
    enum node_kind kind;
    uint64_t payload; /* of NODE_SYNTHETIC, NODE_GAP; 0 else */
    uint64_t addr;    /* of NODE_OBJECT, NODE_STREAM; low bits of NODE_BEYOND */
    uint16_t stream;  /* of NODE_STREAM; 0 else */
};

/* The numbers.  view <= NODE_VIEW_MAX. */
uint64_t node_synthetic(unsigned view, enum node_synthetic what);
uint64_t node_gap(uint64_t index);

/* The number of an object (stream 0) or of one of its streams; NODE_BEYOND when the address does
 * not fit. */
uint64_t node_object(unsigned view, uint64_t addr, uint16_t stream);

/* Takes a number apart.  False when no node can have it: unknown kind, synthetic payload out of
 * range, stream 0.  node_encode(node_decode(x)) == x for all others. */
bool node_decode(uint64_t number, struct node *out);
uint64_t node_encode(const struct node *node);

#endif
