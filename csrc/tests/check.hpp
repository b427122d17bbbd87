// CHECK(condition, format, ...) prints what is wrong and counts it; main ends with `return report()`.
#pragma once

#include <cstdio>

inline int failures = 0, checks = 0;

#define CHECK(condition, ...)                     \
  do {                                            \
    ++checks;                                     \
    if (!(condition)) {                           \
      ++failures;                                 \
      std::printf("%s:%d: ", __FILE__, __LINE__); \
      std::printf(__VA_ARGS__);                   \
      std::printf("\n");                          \
    }                                             \
  } while (false)

inline int report() {
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures != 0;
}
