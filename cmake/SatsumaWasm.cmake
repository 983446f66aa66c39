# What every wasm program is linked with: OpenSSL::Crypto as scripts/build-openssl-wasm built it, and BearSSL's AES as scripts/fetch-bearssl found it
# (both see to it now if they must).
execute_process(COMMAND ${PROJECT_SOURCE_DIR}/scripts/build-openssl-wasm
  OUTPUT_VARIABLE SATSUMA_OPENSSL_WASM OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "scripts/build-openssl-wasm failed")
endif()
add_library(OpenSSL::Crypto STATIC IMPORTED GLOBAL)
set_target_properties(OpenSSL::Crypto PROPERTIES
  IMPORTED_LOCATION ${SATSUMA_OPENSSL_WASM}/lib/libcrypto.a
  INTERFACE_INCLUDE_DIRECTORIES ${SATSUMA_OPENSSL_WASM}/include
  INTERFACE_LINK_LIBRARIES "wasi-emulated-signal;wasi-emulated-getpid;wasi-emulated-mman;wasi-emulated-process-clocks")

execute_process(COMMAND ${PROJECT_SOURCE_DIR}/scripts/fetch-bearssl
  OUTPUT_VARIABLE bearssl OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "scripts/fetch-bearssl failed")
endif()
add_library(bearssl STATIC EXCLUDE_FROM_ALL)
foreach(source symcipher/aes_ct64 symcipher/aes_ct64_enc symcipher/aes_ct64_ctr hash/ghash_ctmul64 aead/gcm codec/dec32le codec/enc32le codec/ccopy)
  target_sources(bearssl PRIVATE ${bearssl}/src/${source}.c)
endforeach()
target_include_directories(bearssl SYSTEM PUBLIC ${bearssl}/inc PRIVATE ${bearssl}/src)

add_library(satsuma_wasm_support STATIC ${PROJECT_SOURCE_DIR}/cmake/wasm-support.c)
link_libraries(satsuma_wasm_support)

# Makes an executable the module that a page loads: no main(), _initialize once, then its exported functions.
function(satsuma_wasm_module name)
  target_link_options(${name} PRIVATE -mexec-model=reactor -Wl,--strip-all)
endfunction()

# GoogleTest from the distribution's sources, so that satsuma_test works here too (run by node, see CMAKE_CROSSCOMPILING_EMULATOR).
set(googletest /usr/src/googletest/googletest)
if((NOT DEFINED BUILD_TESTING OR BUILD_TESTING) AND EXISTS ${googletest}/src/gtest-all.cc)
  add_library(satsuma_wasm_gtest STATIC ${googletest}/src/gtest-all.cc ${googletest}/src/gtest_main.cc)
  target_include_directories(satsuma_wasm_gtest PRIVATE ${googletest})
  target_include_directories(satsuma_wasm_gtest SYSTEM PUBLIC ${googletest}/include)
  target_compile_definitions(satsuma_wasm_gtest PUBLIC GTEST_HAS_PTHREAD=0 GTEST_HAS_STREAM_REDIRECTION=0
    GTEST_HAS_DEATH_TEST=0 GTEST_HAS_FILE_SYSTEM=0 GTEST_HAS_EXCEPTIONS=0)
  target_link_libraries(satsuma_wasm_gtest PUBLIC wasi-emulated-signal)
  target_compile_definitions(satsuma_wasm_gtest PRIVATE _WASI_EMULATED_SIGNAL)
  add_library(GTest::gtest ALIAS satsuma_wasm_gtest)
  add_library(GTest::gtest_main ALIAS satsuma_wasm_gtest)
endif()
