%% Data of strangers: what docs/security.md says of it.
-module(hostile_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

%% Python's hash of an integer is its remainder by this.
-define(HASH_MODULUS, (1 bsl 61 - 1)).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [
        integers_with_one_hash,
        hash_of_text_is_random,
        huge_integer_as_text,
        pickles_are_bytes,
        values_are_not_code,
        forged_references,
        strangers_in_external_format,
        current_folder_is_not_searched,
        six_calls
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

%% They cost the square of their number; the caller need not wait for the end of that.
integers_with_one_hash(_Config) ->
    Map = maps:from_list([{N * ?HASH_MODULUS, N} || N <- lists:seq(1, 4000)]),
    {error, timeout} = py:call(builtins, len, [Map], #{}, 1),
    {ok, 4000} = py:call(builtins, len, [Map]),
    {ok, 1} = py:eval("len({hash(key) for key in m})", #{m => Map}).

hash_of_text_is_random(_Config) ->
    case os:getenv("PYTHONHASHSEED") of
        false -> {ok, 1} = py:eval("__import__('sys').flags.hash_randomization");
        _ -> {skip, "PYTHONHASHSEED is set"}
    end.

%% Printing it would cost the square of its digits: Python has a limit of its own.
huge_integer_as_text(_Config) ->
    Huge = 1 bsl 1_000_000,
    {ok, Huge} = py:eval("x", #{x => Huge}),
    {error, {<<"ValueError">>, Text, _}} = py:eval("str(x)", #{x => Huge}),
    true = string:find(Text, "Exceeds the limit") =/= nomatch.

%% One that would make a folder, if anybody but the handler took it for more than bytes.
pickles_are_bytes(Config) ->
    Folder = filename:join(?config(priv_dir, Config), "made"),
    Size = byte_size(unicode:characters_to_binary(Folder)),
    Pickle = iolist_to_binary([<<128, 4, "cos\nmkdir\nX", Size:32/little>>, Folder, <<133, "R.">>]),
    {ok, true} = py:eval("type(x) is bytes", #{x => Pickle}),
    {ok, Pickle} = py:eval("x", #{x => Pickle}),
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, Pickle),
    ok = py_buffer:close(Buf),
    {ok, Pickle} = py:eval("b.read()", #{b => Buf}),
    {ok, Channel} = py_channel:new(),
    ok = py_channel:send(Channel, Pickle),
    {ok, Pickle} = py:eval("c.receive()", #{c => Channel}),
    false = filelib:is_file(Folder),
    %% It is one: a handler that unpickles runs what it says.
    {ok, none} = py:eval("__import__('pickle').loads(x)", #{x => Pickle}),
    true = filelib:is_dir(Folder).

values_are_not_code(_Config) ->
    Code = <<"__import__('os').abort()">>,
    {ok, Code} = py:eval("x", #{x => Code}),
    {ok, Code} = py:call(builtins, str, [Code]),
    {ok, [Code]} = py:call(builtins, list, [#{Code => Code}]).

%% What is not the reference of a buffer of this node is none, whatever it looks like.
forged_references(_Config) ->
    {ok, Buf} = py_buffer:new(),
    External = term_to_binary(Buf),
    Last = byte_size(External) - 1,
    [begin
         <<Before:At/binary, Byte, After/binary>> = External,
         Forged = binary_to_term(<<Before/binary, (Byte bxor Bit), After/binary>>),
         {badarg, _} = {catch_error(fun() -> py_buffer:write(Forged, <<"x">>) end), Forged},
         {ok, false} = py:eval("hasattr(x, 'read')", #{x => Forged})
     end || At <- lists:seq(Last - 3, Last), Bit <- [1, 16, 128]],
    #{written := 0} = py_buffer:info(Buf).

catch_error(Fun) ->
    try Fun() of
        Result -> {no_error, Result}
    catch
        error:Reason -> Reason
    end.

%% Bytes that are no term stay with binary_to_term/1; those that are one go through.
strangers_in_external_format(_Config) ->
    _ = rand:seed(exsss, {1, 2, 3}),
    External = term_to_binary([self(), make_ref(), #{a => {1.5, <<"b">>}}, 1 bsl 90, [x | y]]),
    [begin
         At = rand:uniform(byte_size(External)) - 1,
         <<Before:At/binary, _, After/binary>> = External,
         try binary_to_term(<<Before/binary, (rand:uniform(256) - 1), After/binary>>, [safe]) of
             Term -> {_, _} = py:call(builtins, repr, [Term])
         catch
             error:badarg -> ok
         end
     end || _ <- lists:seq(1, 3000)],
    ok.

current_folder_is_not_searched(_Config) ->
    {ok, Path} = py:eval("__import__('sys').path"),
    {ok, Folder} = file:get_cwd(),
    false = lists:member(<<>>, Path),
    false = lists:member(unicode:characters_to_binary(Folder), Path).

six_calls(_Config) ->
    erlpy_ct:still_works().
