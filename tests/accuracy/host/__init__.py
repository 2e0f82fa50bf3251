"""What vLLM's scheduler and model runner do on the host between two steps, measured on a CPU (`runner.py`).

The CSV files are what it printed for vLLM 0.12.0 and 0.11.0, with Python 3.11 and torch 2.13 on two cores of an AMD EPYC
(family 23, model 49, a virtual machine) that others used too. Lines through the medians from 1 to 256 decodes, in us of
CPU time. From run to run the model runner's were 480 to 660 + 6.4 to 7.3 n (0.12) and 380 to 620 + 11.8 to 13.2 n
(0.11), more when the machine did more else.

    a step of decodes                                  0.12           0.11
    scheduler (schedule, update_from_output, msgpack)   20 + 13.1 n     3 + 13.4 n
    model runner (execute_model, sample_tokens)        480 +  7.0 n   380 + 12.2 n
      update_states                                     13 +  1.5 n    10 +  0.9 n
      prepare_inputs (0.11: and attention metadata)    188 +  1.6 n   234 +  1.7 n
      build_attention_metadata                          80 +  0.2 n
      bookkeeping_sync                                  46 +  2.9 n    31 +  8.9 n
    between processes (pickle_in, pickle_out)           60 +  1.4 n    49 +  1.4 n

In 0.11 `is_token_ids`, written once a sequence, is a tensor (7 us), in 0.12 an array (1 us).
A prompt of 400 tokens adds to its step 170 (model runner), 70 (scheduler) and 75 (between processes), about 50 to the
step after it; not in this is what its 32 layers' attention calls take in Python, 1000.
"""
