// How a batch is cut into blocks of lanes, blocks into chunks, and chunks given to threads.
//
// The cut depends on the batch alone, never on the number of threads, so that sums over the batch do not either.
#pragma once

#include <functional>
#include <vector>

#include "cpu/sweeper.hpp"

namespace pontryagin {

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
  std::vector<Block> blocks(int chunk) const;

 private:
  Block block(long index) const;
  long batch_, full_, tail_blocks_, blocks_;
  Widths widths_;
  int count_;
};

// Runs `body` on every chunk, on the calling thread and up to threads - 1 others. The first exception is thrown again;
// false means that `interrupted` asked to stop.
bool for_each_chunk(const Chunks& chunks, double work, int threads, Interrupted interrupted,
                    const std::function<void(int)>& body);

}  // namespace pontryagin
