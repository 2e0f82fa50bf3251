/* A unit of FMI 3.0 for co-simulation, of constant bandwidth: what is asked of it here, and no state to save.
   ``ending``: 1 returns early from a step with anything wanted, 2 asks to end the simulation, 3 is an error. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { WANTED = 1, DONE, GB_S, CAPS, ENDING, COUNT };

typedef struct {
  double number[COUNT];
  int32_t ending;
  void (*log)(void *, int, const char *, const char *);
} Unit;

void *fmi3InstantiateCoSimulation(const char *name, const char *token, const char *resources, bool visible, bool logging,
                                  bool events, bool early, const uint32_t *needed, size_t count, void *environment,
                                  void (*log)(void *, int, const char *, const char *), void *update) {
  Unit *unit = calloc(1, sizeof *unit);
  unit->number[GB_S] = 50;
  unit->log = log;
  return unit;
}

void fmi3FreeInstance(void *unit) { free(unit); }

int fmi3EnterInitializationMode(void *unit, bool tolerant, double tolerance, double start, bool stops, double stop) {
  return start == 0 ? 0 : 3;
}

int fmi3ExitInitializationMode(void *unit) { return 0; }

int fmi3SetFloat64(void *unit, const uint32_t *refs, size_t count, const double *values, size_t numbers) {
  for (size_t i = 0; i < count; i++) ((Unit *)unit)->number[refs[i]] = values[i];
  return 0;
}

int fmi3GetFloat64(void *unit, const uint32_t *refs, size_t count, double *values, size_t numbers) {
  for (size_t i = 0; i < count; i++) values[i] = ((Unit *)unit)->number[refs[i]];
  return 0;
}

int fmi3SetInt32(void *unit, const uint32_t *refs, size_t count, const int32_t *values, size_t numbers) {
  ((Unit *)unit)->ending = values[0];
  return refs[0] == ENDING ? 0 : 3;
}

int fmi3DoStep(void *instance, double at, double step, bool no_way_back, bool *event, bool *end, bool *early,
               double *reached) {
  Unit *unit = instance;
  double most = unit->number[GB_S] * 1e9 * step, wanted = unit->number[WANTED];
  unit->number[DONE] = wanted < most ? wanted : most;
  *event = false;
  *early = wanted > 0 && unit->ending == 1;
  *end = wanted > 0 && unit->ending == 2;
  *reached = at + (*early ? step / 2 : step);
  if (wanted > 0 && unit->ending == 3) {
    unit->log(NULL, 3, "logStatusError", "the third unit\nis out of order");
    return 3;
  }
  return 0;
}

/* A unit exports every function of the standard; it is asked for none of these. */
#define NO(name) \
  int fmi3##name(void) { return 3; }
NO(GetVersion) NO(SetDebugLogging) NO(InstantiateModelExchange) NO(InstantiateScheduledExecution) NO(EnterEventMode)
NO(Terminate) NO(Reset) NO(GetFloat32) NO(GetInt8) NO(GetUInt8) NO(GetInt16) NO(GetUInt16) NO(GetInt32) NO(GetUInt32)
NO(GetInt64) NO(GetUInt64) NO(GetBoolean) NO(GetString) NO(GetBinary) NO(GetClock) NO(SetFloat32) NO(SetInt8)
NO(SetUInt8) NO(SetInt16) NO(SetUInt16) NO(SetUInt32) NO(SetInt64) NO(SetUInt64) NO(SetBoolean) NO(SetString)
NO(SetBinary) NO(SetClock) NO(GetNumberOfVariableDependencies) NO(GetVariableDependencies) NO(GetFMUState)
NO(SetFMUState) NO(FreeFMUState) NO(SerializedFMUStateSize) NO(SerializeFMUState) NO(DeserializeFMUState)
NO(GetDirectionalDerivative) NO(GetAdjointDerivative) NO(EnterConfigurationMode) NO(ExitConfigurationMode)
NO(GetIntervalDecimal) NO(GetIntervalFraction) NO(GetShiftDecimal) NO(GetShiftFraction) NO(SetIntervalDecimal)
NO(SetIntervalFraction) NO(SetShiftDecimal) NO(SetShiftFraction) NO(EvaluateDiscreteStates) NO(UpdateDiscreteStates)
NO(EnterContinuousTimeMode) NO(CompletedIntegratorStep) NO(SetTime) NO(SetContinuousStates)
NO(GetContinuousStateDerivatives) NO(GetEventIndicators) NO(GetContinuousStates) NO(GetNominalsOfContinuousStates)
NO(GetNumberOfEventIndicators) NO(GetNumberOfContinuousStates) NO(EnterStepMode) NO(GetOutputDerivatives)
NO(ActivateModelPartition)
