# SPDX-License-Identifier: Apache-2.0
# Not a test by itself: t_audit_modes.py runs it on a mount.
add_executable(accessor ${CMAKE_CURRENT_LIST_DIR}/accessor.c)
target_link_libraries(accessor PRIVATE vd_flags)
# Likewise, for t_who.py.
add_executable(whoactor ${CMAKE_CURRENT_LIST_DIR}/whoactor.c)
target_link_libraries(whoactor PRIVATE vd_flags Threads::Threads)
