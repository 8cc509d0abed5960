/* SPDX-License-Identifier: Apache-2.0 */
/* A piece of case.c that its test looks at. */
#ifndef VD_TREE_CASE_PRIVATE_H
#define VD_TREE_CASE_PRIVATE_H

#include "tree/case.h"

/* Do libblkid's word for a file system and our reader's mean the same? */
bool case_types_agree(const char *recognised, const char *read);

#endif
