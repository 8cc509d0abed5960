/* SPDX-License-Identifier: Apache-2.0 */
/* Names and versions of the libraries that are loaded, where a library can tell, else of those that
 * the program was built with.  Made once; any thread. */
#include "tree/case.h"

#include "fs/version.h"

#include <blkid/blkid.h>
#include <jansson.h>
#include <libdeflate.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <zlib.h>

static char versions[256];

static void make(void)
{
    const char *blkid = NULL;

    (void)blkid_get_library_version(&blkid, NULL);
    (void)snprintf(versions, sizeof(versions),
                   "libtsk %s, OpenSSL %s, zlib %s, libdeflate %s, libblkid %s, jansson %s",
                   fs_tsk_version(), OpenSSL_version(OPENSSL_VERSION_STRING), zlibVersion(),
                   LIBDEFLATE_VERSION_STRING, blkid ? blkid : "?", jansson_version_str());
}

const char *case_library_versions(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, make);
    return versions;
}
