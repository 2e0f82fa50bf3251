// Steps the array in `fetcher.sv` by its clock. Values lie here, in an image of memory; when they come is said from
// outside. Lines read, and what they are answered:
//   start M N K FOLDS READS   -> = 0             a product of M x K and K x N, of which FOLDS tiles; READS on their way
//   run CYCLE [r C ID] [b C]  -> = CYCLE STATE HUNGRY BLOCKED [a C ID ADDRESS] [w C ADDRESS] [f C] ...
//                                                as far as that cycle, or to where it only waits; read ID is answered,
//                                                or the oldest write, at edge C. STATE 0: it works, 1: it waits, 2: done
//   image                     -> = FIRST SECOND PRODUCTS    all there is in memory, hexadecimal
// Once it is done the products are compared with plain arithmetic; "! why" where they differ.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "Vfetcher.h"
#include "verilated.h"

namespace {

constexpr uint32_t kSize = SIZE, kLine = 8 * SIZE, kTile = 4 * SIZE * SIZE;
constexpr int kApart = 40;        // bits: where operands begin (2^40 bytes apart)
constexpr uint32_t kWrites = 8;   // on their way, at most
constexpr uint8_t kUnwritten = 0xA5;

using Bytes = std::vector<uint8_t>;

class Bus {
 public:
  void Start(uint32_t m, uint32_t n, uint32_t k, uint32_t folds, uint32_t reads) {
    k_ = k, folds_ = folds, reads_ = reads;
    across_ = (n + kSize - 1) / kSize;
    lines_ = (k + 7) / 8;
    std::mt19937 draw(k);
    Fill(image_[0], std::min(m, (folds + across_ - 1) / across_ * kSize), draw);
    Fill(image_[1], std::min(n, folds * kSize), draw);
    image_[2].assign(size_t(folds) * kTile, kUnwritten);
    rtl_.k = k, rtl_.folds = folds, rtl_.across = across_;
    rtl_.first = 0, rtl_.second = uint64_t(1) << kApart, rtl_.products = uint64_t(2) << kApart;
    read_.clear(), coming_.clear(), written_.clear();
    cycle_ = hungry_ = blocked_ = writes_ = 0;
    done_ = false, begun_ = true;
  }

  std::string Run(uint64_t upto, std::istringstream& answers) {
    std::string what;
    while (answers >> what) {
      uint64_t at, id = 0;
      answers >> at;
      if (what == "r") answers >> id;
      if (!answers || at <= cycle_) return "an answer that cannot be: " + what;
      if (what == "r") coming_.emplace_back(at, id);
      else written_.push_back(at);
    }
    said_.str("");
    while (cycle_ < upto && !done_ && !Waits()) {
      const std::string wrong = Edge();
      if (!wrong.empty()) return wrong;
    }
    return done_ ? Check() : "";
  }

  std::string Said() {
    std::ostringstream all;
    all << cycle_ << ' ' << (done_ ? 2 : Waits() ? 1 : 0) << ' ' << hungry_ << ' ' << blocked_ << said_.str();
    return all.str();
  }

  std::string Image() const {
    static const char* digits = "0123456789abcdef";
    std::string text;
    for (const Bytes& part : image_) {
      if (!text.empty()) text += ' ';
      for (uint8_t byte : part) text += digits[byte >> 4], text += digits[byte & 15];
    }
    return text;
  }

 private:
  // Panels of `count` rows or columns, drawn; beyond the last, and beyond k, there are zeros.
  void Fill(Bytes& part, uint32_t count, std::mt19937& draw) {
    const uint32_t panels = (count + kSize - 1) / kSize;
    part.assign(size_t(panels) * lines_ * kLine, 0);
    for (uint32_t one = 0; one < count; ++one)
      for (uint32_t step = 0; step < k_; ++step)
        part[(size_t(one / kSize) * lines_ * 8 + step) * kSize + one % kSize] = uint8_t(draw());
  }

  // Nothing leaves the array before an answer comes, and none is under way.
  bool Waits() const {
    if (cycle_ == 0 || !coming_.empty() || !written_.empty()) return false;
    const bool asks = rtl_.ar_valid && read_.size() < reads_, stores = rtl_.w_valid && writes_ < kWrites;
    return !asks && !stores && (rtl_.hungry || rtl_.over || (rtl_.blocked && rtl_.w_valid));
  }

  std::string Edge() {
    ++cycle_;
    rtl_.start = begun_, begun_ = false;
    rtl_.clk = 0;
    rtl_.ar_ready = read_.size() < reads_;
    rtl_.w_ready = writes_ < kWrites;
    rtl_.r_valid = !coming_.empty() && coming_.front().first <= cycle_;
    rtl_.b_valid = !written_.empty() && written_.front() <= cycle_;
    if (rtl_.r_valid) {
      const auto asked = read_.find(coming_.front().second);
      if (asked == read_.end()) return "an answer to a read that was not asked";
      rtl_.r_id = uint8_t(asked->first);
      std::memcpy(&rtl_.r_data, At(asked->second), kLine);
    }
    rtl_.eval();
    if (!rtl_.start) {
      hungry_ += rtl_.hungry, blocked_ += rtl_.blocked;
      if (rtl_.r_valid && rtl_.r_ready) read_.erase(coming_.front().second), coming_.pop_front();
      if (rtl_.b_valid && rtl_.b_ready) written_.pop_front(), --writes_;
      if (rtl_.ar_valid && rtl_.ar_ready) {
        if (!At(rtl_.ar_addr)) return "a read beyond the operands, of " + std::to_string(rtl_.ar_addr);
        if (!read_.emplace(rtl_.ar_id, rtl_.ar_addr).second) return "an id that is on its way already";
        said_ << " a " << cycle_ << ' ' << int(rtl_.ar_id) << ' ' << rtl_.ar_addr;
      }
      if (rtl_.w_valid && rtl_.w_ready) {
        uint8_t* to = At(rtl_.w_addr);
        if (!to || rtl_.w_addr >> kApart != 2) return "a write beyond the products, to " + std::to_string(rtl_.w_addr);
        std::memcpy(to, &rtl_.w_data, kLine);
        ++writes_;
        said_ << " w " << cycle_ << ' ' << rtl_.w_addr;
      }
    }
    rtl_.clk = 1;
    rtl_.eval();
    if (rtl_.fold_done) said_ << " f " << cycle_;
    // What it shows until the next edge depends on nothing that comes in.
    done_ = rtl_.done;
    return "";
  }

  uint8_t* At(uint64_t address) {
    const uint64_t part = address >> kApart, offset = address & ((uint64_t(1) << kApart) - 1);
    return part < 3 && offset + kLine <= image_[part].size() ? &image_[part][offset] : nullptr;
  }

  std::string Check() const {
    for (uint32_t fold = 0; fold < folds_; ++fold)
      for (uint32_t cell = 0; cell < kSize * kSize; ++cell) {
        const uint8_t* a = &image_[0][size_t(fold / across_) * lines_ * kLine + cell / kSize];
        const uint8_t* b = &image_[1][size_t(fold % across_) * lines_ * kLine + cell % kSize];
        uint32_t truth = 0, found;
        for (uint32_t step = 0; step < k_; ++step) truth += uint32_t(int8_t(a[step * kSize]) * int8_t(b[step * kSize]));
        std::memcpy(&found, &image_[2][size_t(fold) * kTile + 4 * cell], 4);
        if (found != truth)
          return "cell " + std::to_string(cell) + " of tile " + std::to_string(fold) + " holds " +
                 std::to_string(int32_t(found)) + " instead of " + std::to_string(int32_t(truth));
      }
    return "";
  }

  Vfetcher rtl_;
  uint32_t k_ = 0, folds_ = 0, reads_ = 0, across_ = 0, lines_ = 0, writes_ = 0;
  uint64_t cycle_ = 0, hungry_ = 0, blocked_ = 0;
  bool begun_ = false, done_ = true;
  Bytes image_[3];
  std::map<uint64_t, uint64_t> read_;                    // id -> address, of reads on their way
  std::deque<std::pair<uint64_t, uint64_t>> coming_;     // edge, id, in the order in which they come
  std::deque<uint64_t> written_;
  std::ostringstream said_;
};

}  // namespace

int main() {
  Bus bus;
  std::string line, word;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    words >> word;
    std::string wrong, answer = "0";
    uint32_t m, n, k, folds, reads;
    uint64_t upto;
    if (word == "start" && words >> m >> n >> k >> folds >> reads && m && n && k && folds && reads) {
      bus.Start(m, n, k, folds, reads);
    } else if (word == "run" && words >> upto) {
      wrong = bus.Run(upto, words);
      answer = bus.Said();
    } else if (word == "image") {
      answer = bus.Image();
    } else {
      wrong = "no such question: " + line;
    }
    std::cout << (wrong.empty() ? "= " + answer : "! " + wrong) << std::endl;
  }
  return 0;
}
