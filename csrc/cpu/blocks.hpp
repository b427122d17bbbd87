// How a batch is cut into blocks of lanes, blocks into chunks, and chunks given to threads.
//
// The cut depends on the batch alone, never on the number of threads, so that sums over the batch do not either.
#pragma once

namespace pontryagin {

// Called now and then from the calling thread; true asks the sweep to stop.
using Interrupted = bool (*)();

struct Widths {
  int one, middle, widest;
};

struct Block {
  long first;
  int count;
  int choice;  // which lane kernel
};

class Chunks {
 public:
  Chunks(long batch, Widths widths);
  int count() const { return count_; }
  // Blocks first(chunk) .. first(chunk + 1) - 1 belong to a chunk.
  long first(int chunk) const { return blocks_ * chunk / count_; }
  Block block(long index) const;

 private:
  long batch_, full_, tail_blocks_, blocks_;
  Widths widths_;
  int count_;
};

// A call of something that outlives it: nothing is copied and nothing is allocated.
class ChunkBody {
 public:
  template <class F>
  ChunkBody(const F& body)
      : object_(&body), call_([](const void* object, int chunk) { (*static_cast<const F*>(object))(chunk); }) {}
  void operator()(int chunk) const { call_(object_, chunk); }

 private:
  const void* object_;
  void (*call_)(const void*, int);
};

// Runs `body` on every chunk, on the calling thread and up to threads - 1 others. The first exception is thrown again;
// false means that `interrupted` asked to stop.
bool for_each_chunk(const Chunks& chunks, double work, int threads, Interrupted interrupted, ChunkBody body);

}  // namespace pontryagin
