# What every wasm program is linked with, and OpenSSL::Crypto as scripts/build-openssl-wasm built it (it builds it now if it must).
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

add_library(satsuma_wasm_support STATIC ${PROJECT_SOURCE_DIR}/cmake/wasm-support.c)
link_libraries(satsuma_wasm_support)

# Makes an executable the module that a page loads: no main(), _initialize once, then its exported functions.
function(satsuma_wasm_module name)
  target_link_options(${name} PRIVATE -mexec-model=reactor -Wl,--strip-all)
endfunction()
