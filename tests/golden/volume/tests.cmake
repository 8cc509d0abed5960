# SPDX-License-Identifier: Apache-2.0
add_executable(golden_volume_corpus ${CMAKE_CURRENT_LIST_DIR}/corpus.c)
target_link_libraries(golden_volume_corpus PRIVATE vd_volume)
target_compile_definitions(golden_volume_corpus PRIVATE
                           TEST_DEFAULT_CORPUS="${CMAKE_SOURCE_DIR}/../shared/corpus")
add_test(NAME golden/volume/corpus COMMAND golden_volume_corpus)
set_tests_properties(golden/volume/corpus PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
