# SPDX-License-Identifier: Apache-2.0
# Other readers see what the writers of the test images meant.
add_test(NAME golden/writers
         COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/readers.py $<TARGET_FILE:mkimage>)
set_tests_properties(golden/writers PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
