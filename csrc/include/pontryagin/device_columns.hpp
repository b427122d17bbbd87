// The memory of a tile that is one thread's: the numbers of 32 neighbouring threads lie side by side,
//
//     [group][row][thread of the group]
//
// so that where all of them read the same row of their problems, they read one piece of memory. The templates of Newton's
// method know nothing of this. Their arrays are of Columns, and the next Column is where the next row is.
#pragma once

#include "newton_problem.hpp"
#include "pack.hpp"

#ifdef __CUDACC_RTC__  // functions of single numbers, which other compilers know by these names
#define __builtin_sqrt(x) ::sqrt(x)
#define __builtin_fabs(x) ::fabs(x)
#define __builtin_cos(x) ::cos(x)
#define __builtin_pow(x, y) ::pow(x, y)
#define __builtin_inf() __longlong_as_double(0x7ff0000000000000LL)
#endif

namespace pontryagin {
inline namespace PMP_ISA {

// Threads of a group: those of a warp.
constexpr int group_threads = 32;

// One number of a thread, as wide as the row that it stands in. What is beside it belongs to others: it is neither read
// nor written nor copied, and locals of this type are one register.
struct Column : Pack<double, 1> {
  using Number = Pack<double, 1>;
  Column() = default;
  PMP_INLINE Column(double value) : Number(value) {}
  PMP_INLINE Column(Number value) : Number(value) {}
  PMP_INLINE Column(const Column& other) : Number(other) {}
  PMP_INLINE Column& operator=(const Column& other) {
    v[0] = other.v[0];
    return *this;
  }

 private:
  double others_[group_threads - 1];
};

template <int W>
using TileReal = Column;

template <class T>
constexpr bool is_column = false;
template <>
constexpr bool is_column<Column> = true;

// What newton_memory.hpp has for rows: each once, not in every place that asks for it. Rows do not overlap, so that several
// numbers may be on their way from memory before the first one is written; compilers do not see that by themselves.
namespace columns {
constexpr int at_a_time = 6;

PMP_NOINLINE inline void add_multiple(double a, const Column* x, Column* y, int count) {
  PMP_ROLLED
  for (int i = 0; i < count; i += at_a_time) {
    Column::Number from[at_a_time], to[at_a_time];
    PMP_UNROLL
    for (int j = 0; j < at_a_time; ++j)
      if (i + j < count) from[j] = x[i + j], to[j] = y[i + j];
    PMP_UNROLL
    for (int j = 0; j < at_a_time; ++j)
      if (i + j < count) y[i + j] = fma(Column::Number(a), from[j], to[j]);
  }
}
PMP_NOINLINE inline void copy(const Column* from, Column* to, long count) {
  PMP_ROLLED
  for (long i = 0; i < count; i += at_a_time) {
    Column::Number some[at_a_time];
    PMP_UNROLL
    for (int j = 0; j < at_a_time; ++j)
      if (i + j < count) some[j] = from[i + j];
    PMP_UNROLL
    for (int j = 0; j < at_a_time; ++j)
      if (i + j < count) to[i + j] = some[j];
  }
}
PMP_NOINLINE inline void fill(Column* x, double value, long count) {
  for (long i = 0; i < count; ++i) x[i] = value;
}
}  // namespace columns
PMP_INLINE void add_multiple(Column a, const Column* x, Column* y, int count) {
  columns::add_multiple(a.v[0], x, y, count);
}
PMP_INLINE void fill(Column* x, Column value, long count) { columns::fill(x, value.v[0], count); }
PMP_INLINE void copy(const Column* from, Column* to, long count) { columns::copy(from, to, count); }

// Arrays of a thread: Columns in the rows of its group, everything else in a piece of memory of its own. Counts when it
// has no memory yet.
class Arena {
 public:
  Arena(double* rows, char* own) : rows_(rows), own_(own) {}
  template <class T>
  PMP_INLINE T* take(long count) {
    if constexpr (is_column<T>) {
      T* const found = rows_ == nullptr ? nullptr : reinterpret_cast<T*>(rows_ + used_rows_ * group_threads);
      used_rows_ += count;
      return found;
    } else {
      T* const found = own_ == nullptr ? nullptr : reinterpret_cast<T*>(own_ + used_);
      used_ += (count * static_cast<long>(sizeof(T)) + 15) / 16 * 16;
      return found;
    }
  }
  long used_rows() const { return used_rows_; }
  long used() const { return used_; }

 private:
  double* rows_;
  char* own_;
  long used_rows_ = 0, used_ = 0;
};

// The functions of a point, which the text of a problem defines.
bool has_point(point::Function function);
void call_point(point::Function function, double* rows);

// Their arguments and results: rows of a thread.
struct RowsIn {
  const double* rows;
  PMP_INLINE Pack<double, 1> operator[](int i) const { return rows[static_cast<long>(i) * group_threads]; }
};
struct RowsOut {
  struct Row {
    double* at;
    PMP_INLINE void operator=(Pack<double, 1> value) const { *at = value.v[0]; }
  };
  double* rows;
  PMP_INLINE Row operator[](int i) const { return {rows + static_cast<long>(i) * group_threads}; }
};

}  // namespace PMP_ISA
}  // namespace pontryagin
