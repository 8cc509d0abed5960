# SPDX-License-Identifier: Apache-2.0
add_executable(test_corpus_vhd ${CMAKE_CURRENT_LIST_DIR}/corpus_vhd.c)
target_link_libraries(test_corpus_vhd PRIVATE vd_vhdbuild)
add_test(NAME golden/vhd COMMAND test_corpus_vhd ${CMAKE_SOURCE_DIR}/../shared/corpus)
set_tests_properties(golden/vhd PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
add_test(NAME golden/vhd-chain COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/chain.py $<TARGET_FILE:mkimage>)
set_tests_properties(golden/vhd-chain PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300 ENVIRONMENT
  "VDISKFS_BIN=${CMAKE_BINARY_DIR}/src/cli")
