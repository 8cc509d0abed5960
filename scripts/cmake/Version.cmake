# SPDX-License-Identifier: Apache-2.0
# Run at every build: writes version.h with the commit as it is now, if that changed.  The build id
# stands in every log, so one from the time of configuring would name the wrong program.
#   cmake -D SOURCE=… -D OUTPUT=… -D PROJECT_VERSION=… -P Version.cmake
set(VD_BUILD "unknown")
execute_process(COMMAND git describe --always --dirty --abbrev=12 WORKING_DIRECTORY ${SOURCE}
                OUTPUT_VARIABLE described RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT failed AND described)
  set(VD_BUILD "${described}")
endif()
configure_file(${SOURCE}/src/base/version.h.in ${OUTPUT} @ONLY) # rewrites only what differs
