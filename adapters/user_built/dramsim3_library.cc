// Steps the library of DRAMsim3 by its clock. Arguments: the library, the .ini, channels, from one channel to the next
// in requests, a window in cycles.
// Lines read, and what they are answered:
//   load      -> = 0            whether that is a library of DRAMsim3
//   new       -> = BYTES TCK    a memory as new, at cycle 0: bytes of a request, ns of a cycle
//   run UPTO STOP [o TAG CYCLE READS WRITES FROM TO STEP SPAN LONG] ...
//             -> = NEXT OPEN MORE TICKS [d TAG CYCLE] ...
//       Cycles up to and with UPTO, or with STOP those up to the first in which an operation ends, or to where none is
//       left; MORE is 1 if it has ticked long enough for one answer before. No operation ends before NEXT. OPEN: those
//       under way; if 0, others of a later cycle are forgotten, and the next line is `new`. TICKS: of the library.
// An operation is so many requests read from FROM on and written from TO on, evenly mixed, within SPAN; places are
// counted in requests. STEP 1: one after another; 0: at places drawn from a seed; else one in each channel, and the next
// of a channel so much further on. It ends when the library has called back for the last. A request a channel enters in
// a cycle, of all operations in turn, as far as the library takes it.
//
// While all that is under way is LONG, windows are compared. Once all have been served as much in one as in the one
// before, within half a percent, as many are left out as bring one of them to its last two; after 16 the mean of the
// later half counts. An operation that comes before cuts it short at the end of a window. So what is done does not
// depend on how far the clock may go in one line.
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <iostream>
#include <list>
#include <map>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

constexpr uint64_t kTicks = 20'000;    // of one answer
constexpr uint64_t kSilence = 100'000;  // ticks in which nothing enters and nothing ends: then nothing ever will
constexpr uint64_t kMost = 16;          // windows that are compared; then the mean of the later half is taken
constexpr size_t kAhead = 16;           // requests a channel that an operation holds ready
constexpr uint64_t kNever = UINT64_MAX;

using Callback = std::function<void(uint64_t)>;

// The functions of its dramsim3.h, by the names that compilers for Linux give them.
struct Library {
  void* (*make)(const std::string&, const std::string&, Callback, Callback);
  void (*end)(void*);
  void (*tick)(void*);
  bool (*takes)(const void*, uint64_t, bool);
  bool (*add)(void*, uint64_t, bool);
  double (*tck)(const void*);
  int (*bus_bits)(const void*);
  int (*burst_length)(const void*);

  std::string Load(const char* path) {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return dlerror();
    std::string missing;
    auto find = [&](auto& function, const char* name) {
      void* found = dlsym(library, name);
      if (!found) missing = std::string("has no ") + name + ": no library of DRAMsim3, or one of another compiler";
      function = reinterpret_cast<std::decay_t<decltype(function)>>(found);
    };
    find(make,
         "_ZN8dramsim315GetMemorySystemERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEES7_"
         "St8functionIFvmEESA_");
    find(end, "_ZN8dramsim312MemorySystemD1Ev");
    find(tick, "_ZN8dramsim312MemorySystem9ClockTickEv");
    find(takes, "_ZNK8dramsim312MemorySystem21WillAcceptTransactionEmb");
    find(add, "_ZN8dramsim312MemorySystem14AddTransactionEmb");
    find(tck, "_ZNK8dramsim312MemorySystem6GetTCKEv");
    find(bus_bits, "_ZNK8dramsim312MemorySystem10GetBusBitsEv");
    find(burst_length, "_ZNK8dramsim312MemorySystem14GetBurstLengthEv");
    return missing;
  }
};

struct Request {
  uint64_t place;
  bool write;
};

struct Channels {
  uint64_t count, apart;  // apart: in requests
};

struct Operation {
  uint64_t tag, cycle, reads, writes, from, to, step, span;
  bool is_long;
  uint64_t made = 0, entered = 0, done = 0;
  uint64_t draw = 1;
  std::deque<Request> ready;
  size_t at = 0;                     // in `ready`, as one cycle looks through it
  uint64_t marked = 0, before = 0;   // done at the latest mark; served in the window that ended there
  uint64_t first = 0;                // done when the later half of the windows began

  uint64_t all() const { return reads + writes; }

  void Fill(Channels channels) {
    while (ready.size() < kAhead * channels.count && made < all()) {
      const uint64_t written = Written(made), read = made - written;
      const bool write = Written(made + 1) > written;
      ++made;
      ready.push_back({Place(write ? to : from, write ? written : read, channels) % span, write});
    }
  }

  uint64_t Place(uint64_t first, uint64_t number, Channels channels) {
    if (step == 1) return first + number;
    if (step) return first + number % channels.count * channels.apart + number / channels.count * step;
    draw = draw * 6364136223846793005u + 1442695040888963407u;  // Knuth's linear congruential generator
    return draw >> 24;
  }

  uint64_t Written(uint64_t of) const { return uint64_t((unsigned __int128)of * writes / all()); }
};

class Memory {
 public:
  Memory(Library library, std::string ini, Channels channels, uint64_t window)
      : library_(library), ini_(std::move(ini)), channels_(channels), window_(window) {}

  std::string New() {
    if (memory_) {
      library_.end(memory_);
      operator delete(memory_);
    }
    open_.clear(), coming_.clear(), under_way_[0].clear(), under_way_[1].clear();
    cycle_ = silent_ = leap_ = marks_ = 0;
    memory_ = library_.make(ini_, ".", [this](uint64_t a) { Done(a, false); }, [this](uint64_t a) { Done(a, true); });
    bytes_ = uint64_t(library_.bus_bits(memory_)) / 8 * uint64_t(library_.burst_length(memory_));
    std::ostringstream said;
    said.precision(17);
    said << bytes_ << ' ' << library_.tck(memory_);
    return said.str();
  }

  std::string Take(std::istringstream& words) {
    std::string what;
    while (words >> what) {
      Operation one{};
      words >> one.tag >> one.cycle >> one.reads >> one.writes >> one.from >> one.to >> one.step >> one.span >>
          one.is_long;
      if (!words || what != "o" || !one.all() || !one.span || one.cycle < cycle_) return "no such operation: " + what;
      coming_.push_back(one);
    }
    return "";
  }

  std::string Run(uint64_t upto, bool stop, std::string& wrong) {
    said_.str("");
    ended_ = false;
    uint64_t ticks = 0;
    while (ticks < kTicks && (!open_.empty() || !coming_.empty())) {
      if (open_.empty() && cycle_ > 0) break;  // at rest
      if (leap_ && !Leap(upto)) break;
      if (cycle_ > upto || (stop && ended_)) break;
      Tick(), ++ticks;
      if (silent_ > kSilence) {
        wrong = "nothing was taken or done for " + std::to_string(kSilence) + " cycles";
        break;
      }
    }
    std::ostringstream all;
    all << Next() << ' ' << open_.size() << ' ' << (ticks == kTicks) << ' ' << ticks << said_.str();
    if (open_.empty()) coming_.clear();
    return all.str();
  }

 private:
  void Tick() {
    while (!coming_.empty() && coming_.front().cycle <= cycle_) {
      open_.push_back(coming_.front()), coming_.pop_front();
      marks_ = 0;
    }
    ++silent_;
    Enter();
    library_.tick(memory_);
    ++cycle_;
    if (open_.empty()) return;
    if (marks_ == 0 || cycle_ - marked_ == window_) Mark();
  }

  // A request a channel at most; first of the operation whose latest entered the longest ago.
  void Enter() {
    for (Operation& one : open_) one.Fill(channels_), one.at = 0;
    for (uint64_t left = channels_.count; left; --left) {
      const auto entered = std::find_if(open_.begin(), open_.end(), [this](Operation& one) { return EnterOne(one); });
      if (entered == open_.end()) return;
      open_.splice(open_.end(), open_, entered);
      silent_ = 0;
    }
  }

  bool EnterOne(Operation& one) {
    for (; one.at < one.ready.size(); ++one.at) {
      const Request request = one.ready[one.at];
      const uint64_t address = request.place * bytes_;
      // A write to what is still being read waits: the library, its writes full, would look at it again and again, and
      // never get to the read.
      if (request.write && under_way_[0].count(address)) continue;
      if (!library_.takes(memory_, address, request.write)) continue;
      under_way_[request.write][address].push_back(&one);
      library_.add(memory_, address, request.write);
      one.ready.erase(one.ready.begin() + long(one.at));
      ++one.entered;
      return true;
    }
    return false;
  }

  void Done(uint64_t address, bool write) {
    auto found = under_way_[write].find(address);
    if (found == under_way_[write].end()) {
      std::cout << "! called back for what was not asked, at " << address << std::endl;
      std::exit(1);
    }
    Operation* one = found->second.front();
    found->second.pop_front();
    if (found->second.empty()) under_way_[write].erase(found);
    silent_ = 0;
    if (++one->done < one->all()) return;
    said_ << " d " << one->tag << ' ' << cycle_;
    ended_ = true;
    marks_ = 0;
    open_.remove_if([one](const Operation& other) { return &other == one; });
  }

  // The end of a window, or the beginning of the first.
  void Mark() {
    const bool tired = marks_ == kMost;
    bool alike = marks_ >= 2, all_long = true;
    uint64_t windows = kNever;
    for (Operation& one : open_) {
      uint64_t served = one.done - one.marked;
      alike = alike && (std::max(served, one.before) - std::min(served, one.before)) * 200 <= served;
      all_long = all_long && one.is_long;
      if (marks_ == kMost / 2) one.first = one.done;
      if (tired) served = (one.done - one.first) / (kMost / 2);
      if (served) windows = std::min(windows, (one.all() - one.made) / served);
      one.before = served, one.marked = one.done;
    }
    marked_ = cycle_, ++marks_;
    if ((alike || tired) && all_long && windows != kNever && windows > 2) leap_ = windows - 2;
  }

  // As many of the windows that are left out as nobody comes into. False: how many these are is not known yet.
  bool Leap(uint64_t upto) {
    uint64_t windows = leap_;
    const uint64_t ends = cycle_ + leap_ * window_;
    if (!coming_.empty() && coming_.front().cycle < ends) {
      windows = (coming_.front().cycle - cycle_) / window_;
    } else if (upto < ends) {
      return false;
    }
    for (Operation& one : open_) {
      const uint64_t skipped = windows * one.before;
      one.made += skipped, one.entered += skipped, one.done += skipped;
      one.marked += skipped;
    }
    cycle_ += windows * window_, marked_ = cycle_;
    marks_ = 1, leap_ = 0;
    return true;
  }

  // A request a channel in a cycle at most, so none can be done before all of its requests have entered.
  uint64_t Next() const {
    uint64_t next = coming_.empty() ? kNever : coming_.front().cycle;
    if (leap_) return std::min(next, cycle_ + leap_ * window_);
    for (const Operation& one : open_) next = std::min(next, cycle_ + (one.all() - one.entered) / channels_.count);
    return next;
  }

  Library library_;
  std::string ini_;
  Channels channels_;
  uint64_t window_, bytes_ = 0;
  void* memory_ = nullptr;
  std::list<Operation> open_;
  std::deque<Operation> coming_;
  std::unordered_map<uint64_t, std::deque<Operation*>> under_way_[2];  // by address; reads, writes
  uint64_t cycle_ = 0, silent_ = 0;              // the next; ticks since something entered or ended
  uint64_t marked_ = 0, marks_ = 0, leap_ = 0;   // when the window began; windows compared; windows to leave out
  bool ended_ = false;
  std::ostringstream said_;
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 6) return 2;
  Library library;
  const std::string missing = library.Load(arguments[1]);
  Memory memory(library, arguments[2], {std::stoull(arguments[3]), std::stoull(arguments[4])},
                std::stoull(arguments[5]));
  std::string line, word;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    words >> word;
    std::string wrong, answer;
    uint64_t upto;
    bool stop;
    if (!missing.empty()) {
      wrong = missing;
    } else if (word == "load") {
      answer = "0";
    } else if (word == "new") {
      answer = memory.New();
    } else if (word == "run" && words >> upto >> stop) {
      wrong = memory.Take(words);
      if (wrong.empty()) answer = memory.Run(upto, stop, wrong);
    } else {
      wrong = "no such question: " + line;
    }
    std::cout << (wrong.empty() ? "= " + answer : "! " + wrong) << std::endl;
  }
  return 0;
}
