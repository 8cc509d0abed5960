# SPDX-License-Identifier: Apache-2.0
add_executable(fs_hash ${CMAKE_CURRENT_LIST_DIR}/fs_hash.c)
target_link_libraries(fs_hash PRIVATE vd_fs)
