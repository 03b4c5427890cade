# Every library that is not ours, from Debian 12 or 13 packages (tools/install-packages.sh names them).

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt CONFIG REQUIRED)
find_package(GTest CONFIG REQUIRED)
find_package(hwy CONFIG REQUIRED)
# Debian 13's CMake package of libucx-dev names an include folder that it does not ship.
pkg_check_modules(ucx REQUIRED IMPORTED_TARGET ucx)
if(BELLWETHER_CUDA)
  find_package(CUDAToolkit 13 REQUIRED)
endif()
if(BELLWETHER_ENGINE_ONLY)
  find_package(Boost 1.81 REQUIRED COMPONENTS json)  # no more of Boost than its JSON parser
  return()
endif()
find_package(Boost 1.81 REQUIRED COMPONENTS json url)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(CURL REQUIRED)

# The CMake package of Debian 12's libnats-dev names a static library that it does not ship; its pkg-config file is right.
pkg_check_modules(nats REQUIRED IMPORTED_TARGET libnats)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)

# yaml-cpp 0.7 (Debian 12) has no namespaced target.
if(NOT TARGET yaml-cpp::yaml-cpp)
  add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
endif()
