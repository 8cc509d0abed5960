/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults on demand, for tests: errors and delays by place or by count, switchable while the stack
 * is in use.  Nothing in the programs creates this layer.  Thread-safe: one lock around the rule.
 */
#include "blk/layers.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <inttypes.h>
#include <time.h>

struct fault {
    pthread_mutex_t lock; /* guards everything below */
    struct blk_fault_rule rule;
    bool armed;
    uint64_t count;
};

static bool rule_matches(const struct blk_fault_rule *rule, uint64_t off, size_t len,
                         uint64_t count)
{
    if (rule->len && !vd_range_overlap(rule->off, rule->len, off, len))
        return false;
    return rule->nth == 0 || count == rule->nth || (rule->persistent && count > rule->nth);
}

/* Counts the read and decides; a copy of the rule so that a delay sleeps without the lock. */
static bool fault_strikes(struct fault *fault, uint64_t off, size_t len,
                          struct blk_fault_rule *out_rule)
{
    VD_LOCKED(&fault->lock);

    if (!fault->armed || !fault->rule.len ||
        vd_range_overlap(fault->rule.off, fault->rule.len, off, len))
        fault->count++;
    *out_rule = fault->rule;
    return fault->armed && rule_matches(&fault->rule, off, len, fault->count);
}

static int fault_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len,
                         struct vd_err *err)
{
    struct blk_fault_rule rule;

    if (fault_strikes(dev->priv, off, len, &rule)) {
        struct timespec pause = {rule.delay_ms / 1000, (long)(rule.delay_ms % 1000) * 1000000};
        uint64_t bad = rule.len && rule.off > off ? rule.off : off;

        if (rule.kind == BLK_FAULT_ERROR)
            return vd_at(err, vd_fail(err, VD_EIO, "injected fault at offset %" PRIu64, bad), bad);
        (void)nanosleep(&pause, NULL);
    }
    return blk_read(dev->children[0], off, buf, len, err);
}

/* Maps through, but reads must come back through this layer. */
static int fault_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                     struct vd_err *err)
{
    int rc = blk_map(dev->children[0], off, max_len, out, err);

    if (rc == 0)
        out->child = NULL;
    return rc;
}

static void fault_close(struct blkdev *dev)
{
    struct fault *fault = dev->priv;

    (void)pthread_mutex_destroy(&fault->lock);
    free(fault);
}

static const struct blk_type fault_type = {
    .name = "fault",
    .read_at = fault_read_at,
    .map = fault_map,
    .close = fault_close,
};

int blk_fault_new(struct blkdev *child, struct blkdev **out, struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *dev = NULL;
    struct fault *fault = calloc(1, sizeof(*fault));
    int rc;

    if (!fault)
        return vd_fail(err, VD_ENOMEM, "fault: out of memory");
    (void)pthread_mutex_init(&fault->lock, NULL);
    rc = blk_new(&fault_type, child->size, "", fault, &dev, err);
    if (rc) {
        free(fault);
        return rc;
    }
    dev->sector_size = child->sector_size;
    rc = blk_add_child(dev, child, err);
    if (rc)
        return rc;
    *out = vd_take(&dev);
    return 0;
}

void blk_fault_set(struct blkdev *dev, const struct blk_fault_rule *rule)
{
    struct fault *fault = dev->priv;
    VD_LOCKED(&fault->lock);

    fault->armed = rule != NULL;
    fault->rule = rule ? *rule : (struct blk_fault_rule){0};
    fault->count = 0;
}

uint64_t blk_fault_count(struct blkdev *dev)
{
    struct fault *fault = dev->priv;
    VD_LOCKED(&fault->lock);

    return fault->count;
}
