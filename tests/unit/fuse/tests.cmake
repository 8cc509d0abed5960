# SPDX-License-Identifier: Apache-2.0
# fakes.c stands in for the tree, the audit ring and the supervisor.
set(fakes ${CMAKE_CURRENT_LIST_DIR}/fakes.c)
vd_unit_test(fuse/paths LIBRARIES vd_fuse SOURCES ${fakes})
vd_unit_test(fuse/who LIBRARIES vd_fuse SOURCES ${fakes})
vd_unit_test(fuse/log LIBRARIES vd_fuse SOURCES ${fakes})
vd_unit_test(fuse/handshake LIBRARIES vd_fuse SOURCES ${fakes})
vd_unit_test(fuse/mount LIBRARIES vd_fuse SOURCES ${fakes})
set_tests_properties(unit/fuse/mount PROPERTIES SKIP_RETURN_CODE 77)
