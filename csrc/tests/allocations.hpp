// allocations(): how often this process asked for memory so far, by operator new, malloc or one of its relatives.
//
// The functions of the C library are replaced in the whole executable, so this is included by one file of it. Sanitizers
// replace them too: there, and where the library is not glibc, `counts_allocations` is false.
#pragma once

#include <cstddef>
#include <cstdlib>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PMP_SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PMP_SANITIZED
#endif

#if defined(__GLIBC__) && !defined(PMP_SANITIZED)
#include <atomic>
#include <cerrno>

namespace {
constexpr bool counts_allocations = true;
std::atomic<long> allocation_count{0};
inline long allocations() { return allocation_count; }
}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

__attribute__((visibility("default"))) void* malloc(std::size_t size) {
  ++allocation_count;
  return __libc_malloc(size);
}
__attribute__((visibility("default"))) void* calloc(std::size_t count, std::size_t size) {
  ++allocation_count;
  return __libc_calloc(count, size);
}
__attribute__((visibility("default"))) void* realloc(void* old, std::size_t size) {
  ++allocation_count;
  return __libc_realloc(old, size);
}
__attribute__((visibility("default"))) void* memalign(std::size_t alignment, std::size_t size) {
  ++allocation_count;
  return __libc_memalign(alignment, size);
}
__attribute__((visibility("default"))) void* aligned_alloc(std::size_t alignment, std::size_t size) {
  return memalign(alignment, size);
}
__attribute__((visibility("default"))) int posix_memalign(void** found, std::size_t alignment, std::size_t size) {
  *found = memalign(alignment, size);
  return *found == nullptr ? ENOMEM : 0;
}
}
#else
namespace {
constexpr bool counts_allocations = false;
inline long allocations() { return 0; }
}  // namespace
#endif
