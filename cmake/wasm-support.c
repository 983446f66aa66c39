// What Debian's compiler-rt and libc++abi for wasm want and do not bring.
#include <stdint.h>

// compiler-rt's 128-bit division was built with the stack protector.
uintptr_t __stack_chk_guard = 0x0aff0d5a;
_Noreturn void __stack_chk_fail(void) { __builtin_trap(); }

// thread_local objects with destructors: there is one thread, and it ends with the module's memory.
int __cxa_thread_atexit(void (*destructor)(void*), void* object, void* module) {
  (void)destructor;
  (void)object;
  (void)module;
  return 0;
}
