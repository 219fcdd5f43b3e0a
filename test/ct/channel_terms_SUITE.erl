%% What becomes of terms in channels: conversions, sizes, views, pids.
-module(channel_terms_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [job/1, result/1]).
-import(erlpy_channels, [
    new/0, new/1, call/2, later/2, await/1, info/3, dead/0
]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, conversions}, {group, sizes}, {group, views}, {group, pids}].

groups() ->
    [
        {conversions, [], [arrives_as_a_channel, the_very_same_comes_back,
                           a_new_term_when_the_old_is_gone, channel_of_a_channel,
                           channel_in_a_message, buffer_in_a_message,
                           buffer_in_a_message_has_a_reader, buffers_in_a_dropped_channel,
                           every_type_both_ways, as_arguments_do, as_results_do, what_python_cannot_take,
                           what_erlang_cannot_take, in_external_format]},
        {sizes, [], [size_is_that_of_the_external_format, sizes_of_random_terms,
                     both_ways_measure_alike, opaque_terms_are_measured, limit_is_exact,
                     larger_than_the_limit, each_way_by_itself]},
        {views, [], [large_binaries_are_views, views_anywhere, small_and_copied,
                     views_outlive_everything, views_cannot_be_written, views_of_parts]},
        {pids, [], [pids_and_references_work, send_to_a_dead_process, send_to_a_name]}
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config),
    Config.

%% Every case, whatever it did, leaves a runtime that answers and an empty mailbox.
end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

%% ---- Conversions -----------------------------------------------------------------------

arrives_as_a_channel(_Config) ->
    Channel = new(),
    <<"Channel">> = call(type_name, [Channel]),
    {ok, true} = py:eval("isinstance(c, __import__('erlang').Channel)", #{c => Channel}),
    {ok, true} = py:eval("isinstance(c['in'][0][0], __import__('erlang.channel').Channel)",
                         #{c => #{in => [{Channel, 1}]}}),
    {ok, 1} = py:eval("len({*cs})", #{cs => [Channel, Channel]}),
    {ok, 2} = py:eval("len({*cs})", #{cs => [Channel, new()]}),
    true = call(same, [Channel, Channel]),
    false = call(same, [Channel, new()]).

the_very_same_comes_back(_Config) ->
    Channel = new(),
    true = Channel =:= call(echo, [Channel]),
    [Channel, #{<<"c">> := {Channel, 1}}] = call(echo, [[Channel, #{c => {Channel, 1}}]]),
    none = call(put, [Channel, [Channel]]),
    {ok, [Channel]} = py_channel:recv(Channel).

%% The process of the first term is gone, Python has the channel still.
a_new_term_when_the_old_is_gone(_Config) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Channel = new(),
        none = call(keep, [channel, Channel]),
        ok = py_channel:send(Channel, before),
        Self ! {self(), py_channel:info(Channel)}
    end),
    receive {Pid, #{closed := false}} -> ok end,
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    ok = erlpy_ct:eventually(fun() ->
        {ok, true} =:= py:eval("__import__('ct_channel').kept['channel'].closed")
    end),
    Channel = call(take, [channel]),
    {error, closed} = py_channel:send(Channel, later),
    [<<"before">>] = call(receive_some, [Channel, 1]),
    none = call(forget, [channel]).

channel_of_a_channel(_Config) ->
    Channel = new(),
    {ok, true} = py:eval("__import__('erlang').Channel(c) == c", #{c => Channel}),
    {ok, true} = py:eval("__import__('erlang').Channel is type(c)", #{c => Channel}),
    {error, {<<"TypeError">>, _, _}} = py:eval("__import__('erlang').Channel()").

channel_in_a_message(_Config) ->
    Outer = new(),
    Inner = new(),
    Call = later(inner, [Outer]),
    ok = py_channel:send(Outer, Inner),
    ok = py_channel:send(Inner, {all, <<"the way">>}),
    {ok, {<<"all">>, <<"the way">>}} = py_channel:recv(Outer),
    Inner = await(Call).

buffer_in_a_message(_Config) ->
    Channel = new(),
    {ok, Buf} = py_buffer:new(),
    ok = py_channel:send(Channel, Buf),
    Call = later(read_buffer, [Channel]),
    ok = py_buffer:write(Buf, <<"one, ">>),
    ok = py_buffer:write(Buf, <<"two">>),
    ok = py_buffer:close(Buf),
    <<"one, two">> = await(Call).

%% Until it has been received: the last one that Python has is dropped meanwhile.
buffer_in_a_message_has_a_reader(_Config) ->
    Channel = new(),
    {ok, Buf} = py_buffer:new(#{high_watermark => 100}),
    ok = py_channel:send(Channel, [{Buf, lists:seq(1, Large)} || Large <- [1, 20_000]]),
    ok = py_channel:send(Channel, Buf),
    ok = py_buffer:write(Buf, <<"abc">>),
    {ok, <<"a">>} = py:call(ct_buffers, invoke, [Buf, read, 1]),
    #{reader_closed := false} = py_buffer:info(Buf),
    none = call(forget_messages, [Channel, 2]),
    erlpy_ct:eventually(fun() -> maps:get(reader_closed, py_buffer:info(Buf)) end).

%% A message that nobody has received is no reader any more.
buffers_in_a_dropped_channel(_Config) ->
    {ok, Buf} = py_buffer:new(#{high_watermark => 100}),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Channel = new(),
        ok = py_channel:send(Channel, [Buf]),
        ok = py_channel:send(Channel, Buf),
        {ok, <<>>} = py:call(ct_buffers, invoke, [Buf, read_nonblock, 1])
    end),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    erlpy_ct:eventually(fun() -> maps:get(reader_closed, py_buffer:info(Buf)) end).

every_type_both_ways(_Config) ->
    Channel = new(),
    Bounce = later(bounce, [Channel]),
    Ref = make_ref(),
    Terms = [
        0, -1, 1 bsl 70, -(1 bsl 2000), 1.5, true, false, none, <<"text">>, <<255, 254>>, <<>>,
        [], [1, 2, 3], "string", {}, {1, {2}}, #{}, #{<<"a">> => [1], 2 => #{3 => 4}}, self(),
        Ref, Channel, binary:copy(<<1, 200>>, 5000), lists:seq(1, 20_000),
        maps:from_list([{N, N} || N <- lists:seq(1, 100)]), list_to_tuple(lists:seq(1, 300))
    ],
    [begin
         ok = py_channel:send(Channel, Term),
         {ok, Term} = py_channel:recv(Channel)
     end || Term <- Terms],
    [ok = py_channel:send(Channel, Term) || Term <- Terms],
    [{ok, Term} = py_channel:recv(Channel, 10_000) || Term <- Terms],
    ok = py_channel:close(Channel),
    none = await(Bounce).

%% A message becomes what an argument becomes, small or large, with the same errors.
as_arguments_do(_Config) ->
    _ = rand:seed(exsss, {4, 5, 6}),
    Channel = new(),
    Terms = [random_term(rand:uniform(5)) || _ <- lists:seq(1, 3000)] ++
        [{bytes, <<"a">>}, {str, <<"a">>}, {str, <<255>>}, {bytes, x}, {str, 'é'}, 'é', 'λ',
         {bytes, binary:copy(<<"x">>, 3000)}, {str, binary:copy(<<"x">>, 3000)}, nil, undefined,
         #{1 => 2, 1.0 => 3}, #{[] => 1}, #{#{} => 1}, {bytes, {bytes, <<"a">>}},
         binary:copy(<<"x">>, 2040), [binary:copy(<<255>>, 2040)], {[[[[[[[[[[1]]]]]]]]]], x},
         maps:from_list([{N, N} || N <- lists:seq(1, 500)]), <<"\x{3bb}"/utf8>>],
    lists:foreach(
        fun(Term) ->
            ok = py_channel:send(Channel, Term),
            Outcome = fun(Call) ->
                case Call of
                    {ok, Value} -> Value;
                    {error, {not_convertible, Text}} -> {refused, Text};
                    {error, {<<"NotConvertibleError">>, Text, _}} -> {refused, Text}
                end
            end,
            Expected = Outcome(py:call(ct_channel, described, [Term])),
            Received = Outcome(py:call(ct_channel, receive_repr, [Channel])),
            {Term, Expected} = {Term, Received}
        end,
        Terms
    ).

%% And the other way round.
as_results_do(_Config) ->
    Channel = new(),
    Ref = make_ref(),
    Sources = [
        "[0, 255, 256, -1, 2**31, -2**31 - 1, 2**62, 2**63, -2**63, 2**64, -2**70]", "'text'",
        "'\\u00e9t\\u00e9'", "b'\\xff\\xfe'", "[True, False, None]", "(1.5, -0.0, 1e300)",
        "{}", "{'a': 1, 2: [b'x']}", "{b'x': {'y': ()}}", "{(1, 2): 3}", "{'a': 1, b'a': 2}",
        "{1: 1, True: 2}", "float('inf')", "[float('nan')]", "object()", "[[[[[[[[[[[1]]]]]]]]]]]",
        "{1, 2, 3}", "bytearray(b'xyz')", "memoryview(b'xyz')", "range(3)", "'\\ud800'", "[[]]",
        "list(range(100))", "list(range(1000))", "(1,) * 300", "'x' * 2040", "['x' * 2040]",
        "dict.fromkeys(range(200))", "[pid, ref]", "{'p': pid}", "(ref,)", "[channel, (channel,)]",
        "type('I', (int,), {})(7)", "type('S', (str,), {})('s')", "type('L', (list,), {})([1])",
        "__import__('erlang').Atom('ok')", "[i % 256 for i in range(600)]"
    ],
    Names = #{pid => self(), ref => Ref, channel => Channel},
    lists:foreach(
        fun(Source) ->
            Expected = py:eval(Source, Names),
            Received =
                case py:eval(["channel.put(", Source, ")"], Names) of
                    {ok, none} ->
                        Size = info(Channel, outbox, size),
                        {ok, Term} = py_channel:recv(Channel, 0),
                        {Handles, Atoms} = names(Term),
                        Off = abs(Size - erlang:external_size(Term)),
                        {true, _} = {Off =< 32 * Handles + Atoms, {Source, Off}},
                        {ok, Term};
                    {error, {<<"NotConvertibleError">>, Text, _}} ->
                        {error, {not_convertible, Text}}
                end,
            {Source, Expected} = {Source, Received}
        end,
        Sources
    ).

%% It is gone, and the next one can be received.
what_python_cannot_take(_Config) ->
    Channel = new(),
    Deep = lists:foldl(fun(_, Term) -> [Term] end, 1, lists:seq(1, 1001)),
    Bad = [fun() -> ok end, fun lists:map/2, <<1:3>>, hd(erlang:ports()), [1 | 2],
           #{#{} => 1}, #{1 => a, 1.0 => b}, Deep],
    [begin
         ok = py_channel:send(Channel, Term),
         ok = py_channel:send(Channel, next),
         <<"NotConvertibleError">> = call(raises, [Channel, 'receive']),
         <<"next">> = call('receive', [Channel])
     end || Term <- Bad],
    #{messages := 0, size := 0} = py_channel:info(Channel).

what_erlang_cannot_take(_Config) ->
    Channel = new(),
    {error, {<<"NotConvertibleError">>, _, _}} =
        py:eval("c.put([1, object()])", #{c => Channel}),
    {error, {<<"NotConvertibleError">>, _, _}} =
        py:eval("c.put(float('nan'))", #{c => Channel}),
    #{outbox := #{messages := 0, size := 0}} = py_channel:info(Channel).

%% As any reference, while it lives.
in_external_format(_Config) ->
    Channel = new(),
    Again = binary_to_term(term_to_binary(Channel)),
    ok = py_channel:send(Again, 5),
    5 = call('receive', [Channel]).

%% ---- Sizes -----------------------------------------------------------------------------

size_of(Term) ->
    Channel = new(),
    ok = py_channel:send(Channel, Term),
    info(Channel, inbox, size).

size_is_that_of_the_external_format(_Config) ->
    Terms = [
        0, 255, 256, -1, 16#7FFFFFFF, 16#80000000, -16#80000000, -16#80000001, 1 bsl 40,
        (1 bsl 59) - 1, 1 bsl 59, (1 bsl 63) - 1, 1 bsl 63, 1 bsl 64, -(1 bsl 63),
        -(1 bsl 63) - 1, 1 bsl 80, 1 bsl 10_000, 1.0, <<>>, <<"abc">>, <<1:3>>, <<1:9>>,
        binary:copy(<<"x">>, 100_000), [], [1], "abc", [1, 256], [256, 1], [255 | 1], [1 | 2],
        [1 | <<"tail">>], [[]], ["ab", "cd"], lists:duplicate(65_535, 1),
        lists:duplicate(65_536, 1), lists:duplicate(9_990, 1), {}, {1}, {1, {2}},
        list_to_tuple(lists:seq(1, 255)), list_to_tuple(lists:seq(1, 256)), #{}, #{1 => 2},
        maps:from_list([{N, N} || N <- lists:seq(1, 100)]), fun lists:map/2,
        lists:foldl(fun(_, Term) -> [Term] end, 1, lists:seq(1, 3000))
    ],
    [{Term, Size} = {Term, size_of(Term)} || Term <- Terms, Size <- [erlang:external_size(Term)]],
    %% Later releases write atoms a byte shorter.
    [true = size_of(Atom) - erlang:external_size(Atom) =< 1 || Atom <- [a, '', abc, 'äöü', 'λ']],
    ok.

%% Within 32 bytes for each pid, port and reference and one for each atom.
sizes_of_random_terms(_Config) ->
    _ = rand:seed(exsss, {1, 2, 3}),
    Channel = new(),
    lists:foldl(
        fun(_, Before) ->
            Term = random_term(rand:uniform(6)),
            ok = py_channel:send(Channel, Term),
            Size = info(Channel, inbox, size),
            Expected = erlang:external_size(Term),
            {Handles, Atoms} = names(Term),
            Off = Size - Before - Expected,
            {true, _} = {abs(Off) =< 32 * Handles + Atoms, {Term, Off, Expected}},
            Size
        end,
        0, lists:seq(1, 20_000)),
    ok.

random_term(0) ->
    case rand:uniform(12) of
        1 -> rand:uniform(600) - 300;
        2 -> (rand:uniform(2) * 2 - 3) * rand:uniform(1 bsl (rand:uniform(200)));
        3 -> rand:uniform();
        4 -> rand:bytes(rand:uniform(200));
        5 -> <<1:(rand:uniform(100))>>;
        6 -> lists:nth(rand:uniform(4), [a, abc, 'a longer one', 'é']);
        7 -> self();
        8 -> make_ref();
        9 -> [];
        10 -> [rand:uniform(256) - 1 || _ <- lists:seq(1, rand:uniform(20))];
        11 -> rand:uniform(1 bsl 64);
        12 -> hd(erlang:ports())
    end;
random_term(Depth) ->
    Terms = fun() -> [random_term(rand:uniform(Depth) - 1) || _ <- lists:seq(1, rand:uniform(5))] end,
    case rand:uniform(4) of
        1 -> Terms();
        2 -> list_to_tuple(Terms());
        3 -> maps:from_list(lists:zip(lists:seq(1, 3), [random_term(Depth - 1) || _ <- [1, 2, 3]]));
        4 -> Terms() ++ random_term(0)
    end.

%% How many things that are named by their node, and atoms.
names(Term) when is_pid(Term); is_reference(Term); is_port(Term) -> {1, 0};
names(Term) when is_atom(Term) -> {0, 1};
names([Head | Tail]) -> both(names(Head), names(Tail));
names(Term) when is_tuple(Term) -> names(tuple_to_list(Term));
names(Term) when is_map(Term) -> names(maps:to_list(Term));
names(_Term) -> {0, 0}.

both({A, B}, {C, D}) -> {A + C, B + D}.

both_ways_measure_alike(_Config) ->
    Channel = new(),
    [begin
         ok = py_channel:send(Channel, Term),
         Size = info(Channel, inbox, size),
         none = call(put, [Channel, Term]),
         {Term, Size} = {Term, info(Channel, outbox, size)},
         Term = call('receive', [Channel]),
         {ok, Term} = py_channel:recv(Channel)
     end || Term <- [1, 1 bsl 100, <<"text">>, [1, 2], {self(), make_ref(), Channel},
                     #{1 => 2.0}, lists:seq(1, 20_000), binary:copy(<<"x">>, 3000)]],
    ok.

opaque_terms_are_measured(_Config) ->
    Large = lists:seq(1, 10_000),
    Terms = [fun() -> Large end, <<(binary:copy(<<"x">>, 1000))/binary, 1:1>>, 1 bsl 5000],
    [true = abs(size_of(Term) - erlang:external_size(Term)) =< 40 || Term <- Terms],
    ok.

limit_is_exact(_Config) ->
    Channel = new(#{max_size => 100}),
    Fifty = binary:copy(<<"x">>, 44),
    ok = py_channel:send(Channel, Fifty),
    ok = py_channel:send(Channel, Fifty),
    100 = info(Channel, inbox, size),
    busy = py_channel:send(Channel, []),
    Fifty = call('receive', [Channel]),
    busy = py_channel:send(Channel, <<Fifty/binary, "x">>),
    ok = py_channel:send(Channel, Fifty).

larger_than_the_limit(_Config) ->
    Channel = new(#{max_size => 10}),
    Large = binary:copy(<<"x">>, 100),
    ok = py_channel:send(Channel, Large),
    busy = py_channel:send(Channel, 1),
    Large = call('receive', [Channel]),
    ok = py_channel:send(Channel, 1),
    busy = py_channel:send(Channel, Large).

each_way_by_itself(_Config) ->
    Channel = new(#{max_size => 10}),
    ok = py_channel:send(Channel, <<"12345">>),
    busy = py_channel:send(Channel, <<"12345">>),
    none = call(put, [Channel, <<"12345">>]),
    <<"TimeoutError">> = call(raises, [Channel, put, <<"12345">>, 0]),
    {ok, <<"12345">>} = py_channel:recv(Channel),
    busy = py_channel:send(Channel, <<"12345">>),
    none = call(put, [Channel, <<"12345">>]).

%% ---- Views -----------------------------------------------------------------------------

large_binaries_are_views(_Config) ->
    Channel = new(#{binaries => view}),
    [begin
         ok = py_channel:send(Channel, Data),
         [<<"view">>, true, 1, <<"B">>, Data] = tuple_to_list(call(receive_described, [Channel]))
     end || Data <- [binary:copy(<<"text">>, 1000), binary:copy(<<255, 1>>, 5000),
                     binary:copy(<<"x">>, 2048)]],
    ok.

views_anywhere(_Config) ->
    Channel = new(#{binaries => view}),
    Large = binary:copy(<<"large">>, 1000),
    View = {<<"view">>, true, 1, <<"B">>, Large},
    ok = py_channel:send(Channel, [Large, {1, Large}, #{key => [Large]}, {bytes, Large}]),
    [View, [{<<"int">>, 1}, View], #{<<"key">> := [View]}, View] =
        call(receive_described, [Channel]).

small_and_copied(_Config) ->
    Views = new(#{binaries => view}),
    Large = binary:copy(<<"x">>, 5000),
    ok = py_channel:send(Views, [binary:copy(<<"x">>, 2047), {str, Large}]),
    [{<<"str">>, _}, {<<"str">>, Large}] = call(receive_described, [Views]),
    Copies = new(#{binaries => copy}),
    ok = py_channel:send(Copies, [Large, {bytes, Large}]),
    [{<<"str">>, Large}, {<<"bytes">>, Large}] = call(receive_described, [Copies]).

%% Channel, message and the process that made the bytes are gone; the node uses the memory
%% of what was freed again.
views_outlive_everything(_Config) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        Channel = new(#{binaries => view}),
        [ok = py_channel:send(Channel, binary:copy(<<N>>, 100_000)) || N <- lists:seq(1, 20)],
        2_000_000 = call(keep_views, [Channel, 20])
    end),
    receive {'DOWN', Monitor, process, Pid, Why} -> normal = Why end,
    erlpy_ct:collect(),
    _ = [binary:copy(<<255>>, 100_000) || _ <- lists:seq(1, 100)],
    [true = call(view_bytes, [N - 1]) =:= binary:copy(<<N>>, 100_000) || N <- lists:seq(1, 20)],
    erlpy_ct:collect(),
    Before = erlang:memory(binary),
    none = call(forget, [views]),
    erlpy_ct:eventually(fun() -> erlang:memory(binary) < Before - 1_500_000 end).

views_cannot_be_written(_Config) ->
    Channel = new(#{binaries => view}),
    Data = binary:copy(<<"x">>, 5000),
    ok = py_channel:send(Channel, Data),
    <<"cannot modify read-only memory">> = call(write_into_view, [Channel]),
    true = Data =:= binary:copy(<<"x">>, 5000).

views_of_parts(_Config) ->
    Channel = new(#{binaries => view}),
    Whole = rand:bytes(100_000),
    Part = binary:part(Whole, 7, 50_000),
    ok = py_channel:send(Channel, Part),
    {<<"view">>, true, 1, <<"B">>, Part} = call(receive_described, [Channel]),
    ok.

%% ---- Pids and references -----------------------------------------------------------------

pids_and_references_work(_Config) ->
    Channel = new(),
    Answerer = later(answer_by_pid, [Channel]),
    Refs = [begin
                Ref = make_ref(),
                ok = py_channel:send(Channel, {self(), Ref, N}),
                {Ref, N}
            end || N <- lists:seq(1, 100)],
    [receive {Ref, N} -> ok after 5000 -> ct:fail(no_answer) end || {Ref, N} <- Refs],
    ok = py_channel:close(Channel),
    none = await(Answerer),
    %% And from Python's put.
    Out = new(),
    {Pid, _} = Echo = job(fun() ->
        {ok, {Parent, Ref}} = py_channel:recv(Out),
        Parent ! {Ref, self()},
        done
    end),
    Ref = make_ref(),
    none = call(put, [Out, {self(), Ref}]),
    receive {Ref, Pid} -> ok after 5000 -> ct:fail(no_answer) end,
    done = result(Echo).

send_to_a_dead_process(_Config) ->
    Dead = dead(),
    <<"sent">> = call(send_raises, [Dead, hello]),
    <<"sent">> = call(reply_raises, [Dead, hello]),
    <<"sent">> = call(reply_raises, [self(), hello]),
    receive <<"hello">> -> ok after 5000 -> ct:fail(no_message) end.

send_to_a_name(_Config) ->
    true = register(channel_suite_name, self()),
    <<"sent">> = call(reply_raises, [channel_suite_name, 1]),
    <<"sent">> = call(send_raises, [<<"channel_suite_name">>, 2]),
    [receive N -> ok after 5000 -> ct:fail(no_message) end || N <- [1, 2]],
    true = unregister(channel_suite_name),
    <<"ValueError">> = call(reply_raises, [channel_suite_name, 1]),
    <<"ValueError">> = call(send_raises, [channel_suite_name, 1]).
