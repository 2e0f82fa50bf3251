// Runs one tile of the array in `tile.sv` for each line "k" and answers "= cycles": from the cycle that takes the
// first values to the one that ends the last product. What it computed is compared with plain arithmetic.
#include <cstdint>
#include <iostream>
#include <random>
#include <vector>

#include "Vtile.h"
#include "verilated.h"

namespace {

constexpr int kSize = SIZE;

void Tick(Vtile& tile) {
  tile.clk = 0;
  tile.eval();
  tile.clk = 1;
  tile.eval();
}

template <typename Wide>
void Put(Wide& bits, int byte, int8_t value) {
  auto* words = reinterpret_cast<uint8_t*>(&bits);
  words[byte] = uint8_t(value);
}

void Run(Vtile& tile, uint32_t k) {
  std::mt19937 draw(k);
  std::uniform_int_distribution<int> byte(-128, 127);
  std::vector<std::vector<int8_t>> a(k, std::vector<int8_t>(kSize)), b = a;
  std::vector<int32_t> truth(kSize * kSize);
  for (uint32_t t = 0; t < k; ++t) {
    for (int i = 0; i < kSize; ++i) {
      a[t][i] = int8_t(byte(draw));
      b[t][i] = int8_t(byte(draw));
    }
    for (int r = 0; r < kSize; ++r)
      for (int c = 0; c < kSize; ++c) truth[r * kSize + c] += a[t][r] * b[t][c];
  }
  tile.k = k;
  tile.start = 1;
  Tick(tile);
  tile.start = 0;
  const uint64_t limit = uint64_t(k) + 4 * kSize + 16;
  uint64_t cycles = 0;
  do {
    for (int i = 0; i < kSize; ++i) {
      Put(tile.a, i, cycles < k ? a[cycles][i] : 0);
      Put(tile.b, i, cycles < k ? b[cycles][i] : 0);
    }
    Tick(tile);
    ++cycles;
  } while (!tile.done && cycles < limit);
  if (!tile.done) {
    std::cout << "! the tile is not done after " << limit << " cycles" << std::endl;
    return;
  }
  const auto* sums = reinterpret_cast<const int32_t*>(&tile.sums);
  for (int i = 0; i < kSize * kSize; ++i) {
    if (sums[i] != truth[i]) {
      std::cout << "! cell " << i << " holds " << sums[i] << " instead of " << truth[i] << std::endl;
      return;
    }
  }
  std::cout << "= " << cycles << std::endl;
}

}  // namespace

int main() {
  Vtile tile;
  uint32_t k;
  while (std::cin >> k) Run(tile, k);
  return 0;
}
