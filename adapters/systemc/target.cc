// What a target is given: settings by name, and a port.
#include "metronome_tlm.h"

#include <cstdlib>

namespace metronome {

const std::string* Settings::find(const std::string& name) const {
  known_.insert(name);
  const auto found = given_.find(name);
  return found == given_.end() ? nullptr : &found->second;
}

double Settings::number(const std::string& name, double otherwise) const {
  const std::string* text = find(name);
  if (!text) return otherwise;
  char* end = nullptr;
  const double value = std::strtod(text->c_str(), &end);
  if (end == text->c_str() || *end) refuse(name, "a number");
  return value;
}

std::uint64_t Settings::whole(const std::string& name, std::uint64_t otherwise) const {
  const std::string* text = find(name);
  if (!text) return otherwise;
  if (text->empty() || text->size() > 18 || text->find_first_not_of("0123456789") != std::string::npos)
    refuse(name, "a whole number, not negative");
  return std::strtoull(text->c_str(), nullptr, 10);
}

std::string Settings::text(const std::string& name, const std::string& otherwise) const {
  const std::string* text = find(name);
  return text ? *text : otherwise;
}

void Settings::check_all_read() const {
  for (const auto& [name, value] : given_) {
    if (known_.count(name)) continue;
    std::string all;
    for (const std::string& one : known_) all += (all.empty() ? "" : ", ") + one;
    refuse(name, all.empty() ? "the target has no settings" : "the target does not ask for it; it knows " + all);
  }
}

// The target is made inside, as a module of the port's: only there may the port's socket be made, too.
Port::Port(sc_core::sc_module_name name, const Settings& settings) : sc_module(name) { target(settings, *this); }

}  // namespace metronome
