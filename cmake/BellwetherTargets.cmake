# One function for each kind of target, so that every library, program and test is built the same way.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

set(BELLWETHER_SANITIZE "" CACHE STRING "Sanitizers to build with, as -fsanitize= takes them")
option(BELLWETHER_FUZZ "Build the libFuzzer targets under tests/fuzz" OFF)

# nvcc hands designated initialisers on to clang in GNU's old form.
add_library(bellwether_options INTERFACE)
target_compile_options(bellwether_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Werror>
  $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings -Xptxas=-warn-spills --expt-relaxed-constexpr --generate-line-info -Xcompiler=-Wno-gnu-designator>)
target_compile_definitions(bellwether_options INTERFACE
  BELLWETHER_VERSION="${PROJECT_VERSION}" BELLWETHER_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
if(BELLWETHER_SANITIZE)
  target_compile_options(bellwether_options INTERFACE -fsanitize=${BELLWETHER_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(bellwether_options INTERFACE -fsanitize=${BELLWETHER_SANITIZE})
  # Asio recycles coroutine frames, which hides their lifetimes from the sanitizers.
  target_compile_definitions(bellwether_options INTERFACE BOOST_ASIO_DISABLE_AWAITABLE_FRAME_RECYCLING)
endif()

if(BELLWETHER_FUZZ)
  # The libraries report their coverage, without which a fuzzer sees nothing of them.
  target_compile_options(bellwether_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# What nearly every source of a service includes from outside the tree, compiled once for each target.
set(BELLWETHER_SERVICE_HEADERS
  <boost/asio/awaitable.hpp> <boost/asio/co_spawn.hpp> <boost/asio/io_context.hpp> <boost/asio/steady_timer.hpp>
  <boost/asio/use_awaitable.hpp> <boost/json.hpp> <fmt/format.h> <google/protobuf/message.h>
  <algorithm> <chrono> <functional> <map> <memory> <optional> <string> <unordered_map> <vector>)
# The same for their tests.
set(BELLWETHER_SERVICE_TEST_HEADERS ${BELLWETHER_SERVICE_HEADERS} <gmock/gmock.h> <gtest/gtest.h>)

# bellwether_library(NAME mesh SOURCES ... DEPENDS ... [ROOT dir] [PRECOMPILE headers])
# makes bellwether::mesh. Headers are included as "<name>/<header>.h" from ROOT (the parent folder unless given).
function(bellwether_library)
  cmake_parse_arguments(ARG "" "NAME;ROOT" "SOURCES;DEPENDS;PRECOMPILE" ${ARGN})
  if(NOT ARG_ROOT)
    cmake_path(GET CMAKE_CURRENT_SOURCE_DIR PARENT_PATH ARG_ROOT)
  endif()
  add_library(bellwether_${ARG_NAME} STATIC ${ARG_SOURCES})
  add_library(bellwether::${ARG_NAME} ALIAS bellwether_${ARG_NAME})
  target_include_directories(bellwether_${ARG_NAME} PUBLIC ${ARG_ROOT})
  target_link_libraries(bellwether_${ARG_NAME} PRIVATE bellwether_options PUBLIC ${ARG_DEPENDS})
  if(ARG_PRECOMPILE)
    target_precompile_headers(bellwether_${ARG_NAME} PRIVATE ${ARG_PRECOMPILE})
  endif()
endfunction()

# Everything that users run, without tests and benchmarks.
add_custom_target(programs)

# bellwether_program(NAME bellwether-worker SOURCES ... DEPENDS ...), for what users run.
function(bellwether_program)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE bellwether_options ${ARG_DEPENDS})
  add_dependencies(programs ${ARG_NAME})
endfunction()

# bellwether_test(NAME unit.mesh SOURCES ... DEPENDS ... [TIMEOUT seconds] [PROGRAMS targets it starts])
# One GoogleTest program, one entry of ctest. Programs land beside the services in bin/.
function(bellwether_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SOURCES;DEPENDS;PROGRAMS;PRECOMPILE" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(BELLWETHER_SANITIZE)
    math(EXPR ARG_TIMEOUT "4 * ${ARG_TIMEOUT}")
  endif()
  string(REPLACE "." "_" target test_${ARG_NAME})
  add_executable(${target} ${ARG_SOURCES})
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${target} PRIVATE bellwether_options ${ARG_DEPENDS} GTest::gmock GTest::gtest_main)
  if(ARG_PRECOMPILE)
    target_precompile_headers(${target} PRIVATE ${ARG_PRECOMPILE})
  endif()
  if(ARG_PROGRAMS)
    add_dependencies(${target} ${ARG_PROGRAMS})
  endif()
  add_test(NAME ${ARG_NAME} COMMAND ${target})
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
  if(BELLWETHER_SANITIZE)
    # UCX would overwrite the beginning of mmap() and its like, which the sanitizers have done already.
    set_tests_properties(${ARG_NAME} PROPERTIES ENVIRONMENT UCX_MEM_MMAP_HOOK_MODE=none)
  endif()
endfunction()

# bellwether_fuzzer(NAME safetensors SOURCES ... DEPENDS ...) makes bin/fuzz_safetensors, only with BELLWETHER_FUZZ.
function(bellwether_fuzzer)
  if(NOT BELLWETHER_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPENDS" ${ARGN})
  add_executable(fuzz_${ARG_NAME} ${ARG_SOURCES})
  target_include_directories(fuzz_${ARG_NAME} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(fuzz_${ARG_NAME} PRIVATE bellwether_options ${ARG_DEPENDS} -fsanitize=fuzzer)
endfunction()
