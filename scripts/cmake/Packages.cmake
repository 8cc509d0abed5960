# SPDX-License-Identifier: Apache-2.0
# Every library that is linked.  scripts/packages lists the Debian packages they come from.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(FUSE3 REQUIRED IMPORTED_TARGET fuse3>=3.12)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto>=3.0)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(LIBDEFLATE REQUIRED IMPORTED_TARGET libdeflate)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.13)
pkg_check_modules(BLKID REQUIRED IMPORTED_TARGET blkid)
pkg_check_modules(LIBCAP REQUIRED IMPORTED_TARGET libcap)
find_library(TSK_LIBRARY tsk REQUIRED)
find_path(TSK_INCLUDE_DIR tsk/libtsk.h REQUIRED)
