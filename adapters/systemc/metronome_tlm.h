// What a TLM-2.0 target of yours includes, to be asked by Metronome (docs/adapters.md). You write one function:
//
//   void metronome::target(const Settings& settings, Port& port) {
//     port.bind((new MyMemory("memory", settings))->socket);
//   }
//
// It is called once, while the design is elaborated; what it makes lives until the process ends.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>

#include <systemc>
#include <tlm>

namespace metronome {

// A setting that will not do: before time 0 the run ends with its name and this sentence.
struct Refused {
  std::string name, why;
};

// What a scenario says under `settings`. A name that nobody asks for is refused.
class Settings {
 public:
  double number(const std::string& name, double otherwise) const;
  std::uint64_t whole(const std::string& name, std::uint64_t otherwise) const;
  std::string text(const std::string& name, const std::string& otherwise) const;
  [[noreturn]] static void refuse(const std::string& name, const std::string& why) { throw Refused{name, why}; }

  void set(const std::string& name, const std::string& value) { given_[name] = value; }
  void check_all_read() const;

 private:
  const std::string* find(const std::string& name) const;

  std::map<std::string, std::string> given_;
  mutable std::set<std::string> known_;
};

// Where requests come from: bind the one target socket, of whatever width.
class Port : public sc_core::sc_module, public tlm::tlm_bw_transport_if<> {
 public:
  Port(sc_core::sc_module_name name, const Settings& settings);

  template <unsigned Width>
  void bind(tlm::tlm_base_target_socket_b<Width>& target) {
    if (forward_) throw std::logic_error("metronome::Port::bind: it is bound already");
    auto socket = std::make_shared<tlm::tlm_initiator_socket<Width>>("metronome_socket");
    socket->bind(static_cast<tlm::tlm_bw_transport_if<>&>(*this));
    socket->bind(target);
    forward_ = [socket]() -> tlm::tlm_fw_transport_if<>& { return *socket->operator->(); };
  }

  // Ours, from here on.
  using Back = std::function<tlm::tlm_sync_enum(tlm::tlm_generic_payload&, tlm::tlm_phase&, sc_core::sc_time&)>;
  bool bound() const { return bool(forward_); }
  tlm::tlm_fw_transport_if<>& forward() const { return forward_(); }
  void listen(Back back) { back_ = std::move(back); }

 private:
  tlm::tlm_sync_enum nb_transport_bw(tlm::tlm_generic_payload& what, tlm::tlm_phase& phase,
                                     sc_core::sc_time& delay) override {
    if (!back_) throw std::logic_error("the target called nb_transport_bw, and was asked by b_transport");
    return back_(what, phase, delay);
  }
  void invalidate_direct_mem_ptr(sc_dt::uint64, sc_dt::uint64) override {}  // nobody asks for one

  std::function<tlm::tlm_fw_transport_if<>&()> forward_;
  Back back_;
};

void target(const Settings& settings, Port& port);  // yours

}  // namespace metronome
