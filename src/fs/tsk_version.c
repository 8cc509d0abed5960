/* SPDX-License-Identifier: Apache-2.0 */
/* The version of libtsk, so that nothing above this folder needs to know libtsk. */
#include "fs/version.h"

#include <tsk/libtsk.h>

const char *fs_tsk_version(void)
{
    return tsk_version_get_str();
}
